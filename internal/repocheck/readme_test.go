package repocheck

import (
	"fmt"
	"go/ast"
	"go/format"
	"path"
	"regexp"
	"strings"
)

// examples returns what a document can show of each function: by its name, of a function in
// the root's example files; by its directory, a space and its name, of one in a test of
// admin or of an example program. Of an Example or a Test that is the body, of any other function all of it.
// Tests are among them because an Example has no *testing.T.
func examples(t *tree) map[string]string {
	found := map[string]string{}
	for _, f := range t.code {
		root, _ := path.Match("example*_test.go", f.path)
		if !root && !(f.test && f.in("examples", "admin")) {
			continue
		}
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv != nil || fn.Body == nil {
				continue
			}
			from, to := fn.Type.Pos(), fn.End()
			if shownByBody.MatchString(fn.Name.Name) {
				from, to = fn.Body.Lbrace+1, fn.Body.Rbrace
			}
			name := fn.Name.Name
			if !root {
				name = f.dir + " " + name
			}
			found[name] = string(f.src[t.fset.Position(from).Offset:t.fset.Position(to).Offset])
		}
	}
	return found
}

var shownByBody = regexp.MustCompile(`^(Example|Test)`)

// verbsOf are the types, as directory and name, whose exported methods have examples, with what their
// names in examples begin with.
var verbsOf = map[string]string{". Manager": "ExampleManager_", "admin Client": "admin ExampleClient_"}

func verbExamples(t *tree) []violation {
	have := map[string]bool{}
	for name := range examples(t) {
		parts := strings.SplitN(name, "_", 3) // ExampleManager_Verb_suffix
		have[strings.Join(parts[:min(2, len(parts))], "_")] = true
	}
	var found []violation
	for _, f := range t.code {
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || f.test || fn.Recv == nil || !fn.Name.IsExported() {
				continue
			}
			verbs, ok := verbsOf[f.dir+" "+receiver(fn)]
			if name := verbs + fn.Name.Name; ok && !have[name] {
				found = append(found, violation{t.at(fn), "no " + name})
			}
		}
	}
	return found
}

var (
	marker     = regexp.MustCompile(`^<!-- example: ((?:\S+ )?\w+) -->$`)
	outputLine = regexp.MustCompile(`(?im)^\s*//\s*(unordered )?output:`)
	setUp      = regexp.MustCompile(`(?ms)^\s*// setup$.*?^\s*// end setup$\n?`)
)

func documentCode(t *tree) []violation {
	var found []violation
	bodies, main := examples(t), false
	for _, name := range t.all {
		text, ok := t.read(name)
		if path.Ext(name) != ".md" || !ok {
			continue
		}
		lines := strings.Split(text, "\n")
		for i, line := range lines {
			m := marker.FindStringSubmatch(strings.TrimSpace(line))
			if m == nil {
				continue
			}
			main = main || name == "README.md" && m[1] == "Example"
			if what := wrongBlock(goBlock(lines[i+1:]), m[1], bodies); what != "" {
				found = append(found, violation{fmt.Sprintf("%s:%d", name, i+1), what})
			}
		}
	}
	if !main {
		found = append(found, violation{"README.md", "no line <!-- example: Example --> before the Go block that shows the main job"})
	}
	return found
}

// wrongBlock says what is wrong with block, which shows the example of that name, "" if nothing.
func wrongBlock(block, name string, bodies map[string]string) string {
	body, ok := bodies[name]
	switch {
	case !ok:
		return "no func " + name + " in the root's example*_test.go, nor in the tests of admin or an example program"
	case block == "":
		return "no block of Go follows"
	}
	return differs(block, shownPart(body))
}

// shownPart is an example's body as a document shows it.
func shownPart(body string) string {
	if end := outputLine.FindStringIndex(body); end != nil {
		body = body[:end[0]]
	}
	return setUp.ReplaceAllString(body, "")
}

// goBlock returns the fenced Go block that begins lines, "" if there is none.
func goBlock(lines []string) string {
	for len(lines) > 0 && strings.TrimSpace(lines[0]) == "" {
		lines = lines[1:]
	}
	if len(lines) == 0 || strings.TrimSpace(lines[0]) != "```go" {
		return ""
	}
	block, _, _ := strings.Cut(strings.Join(lines[1:], "\n"), "\n```")
	return block
}

// differs says where two pieces of code differ after gofmt, "" if nowhere.
func differs(readme, example string) string {
	got, err := formatted(readme)
	if err != nil {
		return fmt.Sprintf("the block is no Go code: %v", err)
	}
	want, err := formatted(example)
	if err != nil {
		return fmt.Sprintf("the example without its set-up is no Go code: %v", err)
	}
	for i := range max(len(got), len(want)) {
		g, w := lineOr(got, i), lineOr(want, i)
		if g != w {
			return fmt.Sprintf("line %d of the block is\n\t%s\nand of the example\n\t%s", i+1, g, w)
		}
	}
	return ""
}

func formatted(code string) ([]string, error) {
	out, err := format.Source([]byte(strings.TrimSpace(code)))
	return strings.Split(string(out), "\n"), err
}

func lineOr(lines []string, i int) string {
	if i < len(lines) {
		return lines[i]
	}
	return "(nothing)"
}
