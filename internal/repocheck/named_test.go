package repocheck

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

var (
	// namedTest is the name of a test in a text, with the signs of a pattern for -run around it.
	namedTest = regexp.MustCompile(`(\^?)\b((?:Test|Fuzz)[A-Z0-9]\w*)(\$?)`)

	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Fuzz)\w*)\(`)
)

// namedTests finds the tests that Markdown and .ci/run name and that no module has. ^TestX without a $
// stands for all that begin with TestX.
func namedTests(t *tree) (found []violation) {
	tests, beginnings := testsOfModules(t)
	for _, name := range t.all {
		text, ok := t.read(name)
		if !ok || path.Ext(name) != ".md" && name != ".ci/run" {
			continue
		}
		for i, line := range strings.Split(text, "\n") {
			for _, m := range namedTest.FindAllStringSubmatch(line, -1) {
				if whole := m[1] == "" || m[3] != ""; !tests[m[2]] && (whole || !strings.Contains(beginnings, "\n"+m[2])) {
					found = append(found, violation{fmt.Sprintf("%s:%d", name, i+1), "there is no " + m[2]})
				}
			}
		}
	}
	return found
}

// testsOfModules returns the names of the tests of all modules, nested ones among them, also as lines.
func testsOfModules(t *tree) (names map[string]bool, lines string) {
	names = map[string]bool{}
	fs.WalkDir(t.fsys, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(name, "_test.go") {
			return err
		}
		text, err := fs.ReadFile(t.fsys, name)
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			names[string(m[1])] = true
			lines += "\n" + string(m[1])
		}
		return err
	})
	return names, lines
}
