package repocheck

import (
	"fmt"
	"go/ast"
	"go/format"
	"path"
	"regexp"
	"strings"
)

// examples returns the bodies of the functions in the root's example files by
// name. Tests are among them: what needs a *testing.T can be no Example.
func examples(t *tree) map[string]string {
	found := map[string]string{}
	for _, f := range t.code {
		if match, _ := path.Match("example*_test.go", f.path); !match {
			continue
		}
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && fn.Recv == nil && fn.Body != nil {
				body := f.src[t.fset.Position(fn.Body.Lbrace).Offset+1 : t.fset.Position(fn.Body.Rbrace).Offset]
				found[fn.Name.Name] = string(body)
			}
		}
	}
	return found
}

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
			if !ok || f.test || f.dir != "." || fn.Recv == nil || receiver(fn) != "Manager" || !fn.Name.IsExported() {
				continue
			}
			if name := "ExampleManager_" + fn.Name.Name; !have[name] {
				found = append(found, violation{t.at(fn), "no " + name})
			}
		}
	}
	return found
}

var (
	marker     = regexp.MustCompile(`^<!-- example: (\w+) -->$`)
	outputLine = regexp.MustCompile(`(?im)^\s*//\s*(unordered )?output:`)
	setUp      = regexp.MustCompile(`(?ms)^\s*// setup$.*?^\s*// end setup$\n?`)
)

func readmeCode(t *tree) []violation {
	text, ok := t.read("README.md")
	if !ok {
		return []violation{{"README.md", "missing"}}
	}
	var found []violation
	bodies, main := examples(t), false
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		m := marker.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		main = main || m[1] == "Example"
		at := fmt.Sprintf("README.md:%d", i+1)
		body, ok := bodies[m[1]]
		block := goBlock(lines[i+1:])
		switch {
		case !ok:
			found = append(found, violation{at, "no func " + m[1] + " in the root's example*_test.go"})
		case block == "":
			found = append(found, violation{at, "no block of Go follows"})
		default:
			if what := differs(block, shownPart(body)); what != "" {
				found = append(found, violation{at, what})
			}
		}
	}
	if !main {
		found = append(found, violation{"README.md", "no line <!-- example: Example --> before the Go block that shows the main job"})
	}
	return found
}

// shownPart is an example's body as the README shows it.
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
