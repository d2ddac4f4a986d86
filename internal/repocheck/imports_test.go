package repocheck

import (
	"fmt"
	"strconv"
	"strings"
)

// fences says who may import what. The first entry that matches an import
// decides; what matches none is refused unless it is the standard library's or
// this module's.
var fences = []struct {
	path string // the import, and every one below it
	why  string
	ok   func(f *goFile) bool
}{
	{"C", "lapse is pure Go", nobody},
	{"net/http", "the caller brings the transport", func(f *goFile) bool { return f.in("examples") }},
	{"testing", "no test code in a user's binary", func(f *goFile) bool {
		return f.test || f.in("internal/bearertest", "internal/lapsetest", "internal/race", "internal/ratio", "internal/sample", "storage/storagetest")
	}},
	{"go.etcd.io/bbolt", "one package writes the file", func(f *goFile) bool {
		return f.in("internal/tree", "internal/fault") || f.test && f.in("internal/boltfile", "storage/bolt")
	}},
	{"golang.org/x/sys", "system calls in few places", func(f *goFile) bool { return f.in("internal/localfile", "admin") }},
	{"github.com/benbjohnson/clock", "a mock of tests, replaceable in one place", func(f *goFile) bool { return f.test || f.in("examples") }},
	{"github.com/google/go-cmp", "for comparisons in tests", func(f *goFile) bool { return f.test || f.in("internal/lapsetest", "storage/storagetest") }},
	{module + "/storage/bolt", "who uses memory links no bbolt", func(f *goFile) bool { return f.test || f.in("examples", "internal/lapsetest") }},
	{module + "/internal/recovery", "who uses memory links no bbolt", func(f *goFile) bool { return f.in("storage/bolt") }},
	{module + "/internal/tree", "who uses memory links no bbolt", func(f *goFile) bool { return f.in("internal/recovery", "storage/bolt") }},
	{module + "/internal/fault", "who uses memory links no bbolt", func(f *goFile) bool {
		return f.in("internal/recovery", "internal/tree", "storage/bolt")
	}},
	{module + "/storage/storagetest", "the suite is for tests", func(f *goFile) bool { return f.test || f.in("internal/lapsetest") }},
	{module + "/internal/lapsetest", "it is for tests", func(f *goFile) bool { return f.test }},
	{module + "/internal/bearertest", "it is for tests", func(f *goFile) bool { return f.test }},
	{module + "/internal/race", "it is for tests", func(f *goFile) bool { return f.test }},
	{module + "/internal/sample", "it is for tests", func(f *goFile) bool { return f.test }},
	{module + "/internal/ratio", "it is for benchmarks", func(f *goFile) bool { return f.test || f.in("storage/storagetest") }},
	{module + "/storage/memory", "the contract and its users know no backend", func(f *goFile) bool {
		return f.test || f.in("examples", "internal/lapsetest", "storage/storagetest")
	}},
}

func nobody(*goFile) bool { return false }

func dependencies(t *tree) []violation {
	var found []violation
	for _, f := range t.code {
		for _, imp := range f.ast.Imports {
			name, _ := strconv.Unquote(imp.Path.Value)
			if why := refused(f, name); why != "" {
				found = append(found, violation{t.at(imp), fmt.Sprintf("imports %s: %s", name, why)})
			}
		}
	}
	return found
}

// refused says why f may not import name, "" if it may.
func refused(f *goFile, name string) string {
	for _, fence := range fences {
		if within(name, fence.path) {
			if fence.ok(f) {
				return ""
			}
			return fence.why
		}
	}
	switch {
	case name == module && !f.test && f.in("storage", "internal") && !f.in("internal/lapsetest"):
		return "the root stands above storage and internal, not below"
	case within(name, module):
		return ""
	case strings.Contains(strings.Split(name, "/")[0], "."):
		return "not one of the four dependencies"
	}
	return ""
}

func within(name, path string) bool { return name == path || strings.HasPrefix(name, path+"/") }

var directRequirements = []string{
	"go.etcd.io/bbolt",
	"github.com/benbjohnson/clock",
	"github.com/google/go-cmp",
	"golang.org/x/sys",
}

func goMod(t *tree) []violation {
	text, ok := t.read("go.mod")
	if !ok {
		return []violation{{"go.mod", "missing"}}
	}
	var found []violation
	direct, goLine := map[string]bool{}, ""
	for _, d := range directives(text) {
		switch d.words[0] {
		case "module":
		case "go":
			goLine = strings.Join(d.words[1:], " ")
		case "require":
			if d.comment != "indirect" {
				direct[d.words[1]] = true
			}
		default:
			found = append(found, violation{fmt.Sprintf("go.mod:%d", d.line), d.words[0] + " line"})
		}
	}
	if goLine != "1.25.0" {
		found = append(found, violation{"go.mod", fmt.Sprintf("go line is %q", goLine)})
	}
	return append(found, wrongRequirements(direct)...)
}

// directive is one statement of a go.mod, with the verb of its block.
type directive struct {
	line    int
	words   []string
	comment string
}

// directives reads a go.mod line by line, which is all that its grammar needs here.
func directives(text string) (all []directive) {
	block := ""
	for i, line := range strings.Split(text, "\n") {
		code, comment, _ := strings.Cut(line, "//")
		words := strings.Fields(code)
		switch {
		case len(words) == 0:
			continue
		case words[0] == ")":
			block = ""
			continue
		case len(words) == 2 && words[1] == "(":
			block = words[0]
			continue
		case block != "":
			words = append([]string{block}, words...)
		}
		all = append(all, directive{i + 1, words, strings.TrimSpace(comment)})
	}
	return all
}

func wrongRequirements(direct map[string]bool) (found []violation) {
	for _, name := range directRequirements {
		if !direct[name] {
			found = append(found, violation{"go.mod", "does not require " + name + " directly; run go mod tidy"})
		}
		delete(direct, name)
	}
	for name := range direct {
		found = append(found, violation{"go.mod", "requires " + name})
	}
	return found
}
