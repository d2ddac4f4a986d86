package repocheck

import (
	"fmt"
	"go/ast"
	"regexp"
	"strings"
)

var (
	decisionHeading = regexp.MustCompile(`^### (D\d+) `)
	decisionRow     = regexp.MustCompile(`^\| (D\d+) `)
	testName        = regexp.MustCompile("`((?:Test|Fuzz)\\w+)`")
)

const (
	design         = "docs/design.md"
	decisionsTable = "## What shows it"
)

func decisionTests(t *tree) []violation {
	text, _ := t.read(design)
	tests, headings := testNames(t), map[string]int{}
	var found []violation
	add := func(line int, what string) {
		found = append(found, violation{fmt.Sprintf("%s:%d", design, line), what})
	}
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if m := decisionHeading.FindStringSubmatch(line); m != nil {
			headings[m[1]] = i + 1
		}
	}
	inTable := false
	for i, line := range lines {
		if strings.HasPrefix(line, "## ") {
			inTable = line == decisionsTable
		}
		m := decisionRow.FindStringSubmatch(line)
		if m == nil || !inTable {
			continue
		}
		if headings[m[1]] == 0 {
			add(i+1, "there is no decision "+m[1])
		}
		headings[m[1]] = -1
		if what := wrongTests(line, tests); what != "" {
			add(i+1, what)
		}
	}
	for name, line := range headings {
		if line > 0 {
			add(line, name+" has no row in the table "+decisionsTable)
		}
	}
	return found
}

// wrongTests says what is wrong with the tests that a row names, "" if nothing is.
func wrongTests(row string, tests map[string]bool) string {
	named := testName.FindAllStringSubmatch(row, -1)
	for _, m := range named {
		if !tests[m[1]] {
			return "there is no " + m[1]
		}
	}
	if len(named) == 0 {
		return "names no test"
	}
	return ""
}

// testNames returns the names of all functions in test files.
func testNames(t *tree) map[string]bool {
	names := map[string]bool{}
	for _, f := range t.code {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && f.test && fn.Recv == nil {
				names[fn.Name.Name] = true
			}
		}
	}
	return names
}
