package repocheck

import (
	"bytes"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

// module is the path of the root module.
const module = "github.com/seed-55daa01a/lapse"

// tree is a repository as the rules see it: without nested modules, testdata and
// what git keeps for itself.
type tree struct {
	fsys fs.FS
	fset *token.FileSet
	all  []string // every file, for rules about names
	code []*goFile
	used map[string]bool // the exceptions that were needed
}

// goFile is one parsed Go file.
type goFile struct {
	path string // from the root, with slashes
	dir  string // "." for the root
	test bool   // its name ends in _test.go
	ast  *ast.File
	src  []byte
}

// in reports whether the file lies in one of the directories or below.
func (f *goFile) in(dirs ...string) bool {
	for _, dir := range dirs {
		if f.dir == dir || strings.HasPrefix(f.dir, dir+"/") {
			return true
		}
	}
	return false
}

// load reads and parses a tree. A file that does not parse is an error: no rule
// could be trusted on the rest.
func load(fsys fs.FS) (*tree, error) {
	t := &tree{fsys: fsys, fset: token.NewFileSet(), used: map[string]bool{}}
	err := fs.WalkDir(fsys, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && skipped(fsys, name):
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		t.all = append(t.all, name)
		if path.Ext(name) != ".go" {
			return nil
		}
		return t.parse(name)
	})
	return t, err
}

func skipped(fsys fs.FS, dir string) bool {
	if dir == "." {
		return false
	}
	_, err := fs.Stat(fsys, path.Join(dir, "go.mod"))
	return err == nil || path.Base(dir) == ".git" || path.Base(dir) == "testdata"
}

func (t *tree) parse(name string) error {
	src, err := fs.ReadFile(t.fsys, name)
	if err != nil {
		return err
	}
	file, err := parser.ParseFile(t.fset, name, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return err
	}
	t.code = append(t.code, &goFile{
		path: name,
		dir:  path.Dir(name),
		test: strings.HasSuffix(name, "_test.go"),
		ast:  file,
		src:  src,
	})
	return nil
}

// read returns the text of a file, or false if there is none.
func (t *tree) read(name string) (string, bool) {
	text, err := fs.ReadFile(t.fsys, name)
	return string(text), err == nil
}

// at is where a node stands: path:line.
func (t *tree) at(n ast.Node) string {
	p := t.fset.Position(n.Pos())
	return fmt.Sprintf("%s:%d", p.Filename, p.Line)
}

// lines is how many lines a node spans.
func (t *tree) lines(n ast.Node) int {
	return t.fset.Position(n.End()).Line - t.fset.Position(n.Pos()).Line + 1
}

// exceptions is what one rule lets pass: a key that the rule chooses, and why.
type exceptions map[string]string

// excuses reports whether key is among the exceptions, and notes that it was
// needed.
func (t *tree) excuses(list exceptions, key string) bool {
	_, ok := list[key]
	if ok {
		t.used[key] = true
	}
	return ok
}

// root returns the directory of the go.mod above this test.
func root(tb testing.TB) string {
	tb.Helper()
	dir, err := os.Getwd()
	if err != nil {
		tb.Fatal(err)
	}
	for {
		text, err := os.ReadFile(filepath.Join(dir, "go.mod"))
		if err == nil && bytes.HasPrefix(text, []byte("module "+module)) {
			return dir
		}
		up := filepath.Dir(dir)
		if up == dir {
			tb.Fatalf("no go.mod of %s above the working directory", module)
		}
		dir = up
	}
}

var fileHeader = regexp.MustCompile(`(?m)^-- (\S+) --\n`)

// planted makes a tree of one text in which a line "-- path --" begins each file
// and three single quotes stand for the fence of a Markdown code block.
func planted(text string) fs.FS {
	text = strings.ReplaceAll(text, "'''", "```")
	fsys := fstest.MapFS{}
	headers := fileHeader.FindAllStringSubmatchIndex(text, -1)
	for i, h := range headers {
		end := len(text)
		if i+1 < len(headers) {
			end = headers[i+1][0]
		}
		fsys[text[h[2]:h[3]]] = &fstest.MapFile{Data: []byte(text[h[1]:end])}
	}
	return fsys
}
