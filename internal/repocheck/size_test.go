package repocheck

import (
	"bytes"
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"strings"
)

const (
	maxFile     = 300 // lines
	maxSuite    = 400 // of a file in storage/storagetest, which is mostly a table
	maxFunction = 60
	maxRoot     = 95 // entries of the root
)

// longFilesAllowed are the files that may be longer.
var longFilesAllowed = exceptions{}

func fileSize(t *tree) []violation {
	var found []violation
	for _, f := range t.code {
		limit := maxFile
		if f.in("storage/storagetest") {
			limit = maxSuite
		}
		if n := bytes.Count(f.src, []byte("\n")); !f.test && n > limit && !t.excuses(longFilesAllowed, f.path) {
			found = append(found, violation{f.path, fmt.Sprintf("%d lines, limit %d", n, limit)})
		}
	}
	return found
}

func functionSize(t *tree) []violation {
	var found []violation
	for _, f := range t.code {
		for _, decl := range f.ast.Decls {
			if fn, ok := decl.(*ast.FuncDecl); ok && !f.test && t.lines(fn) > maxFunction {
				found = append(found, violation{t.at(fn), fmt.Sprintf("%s has %d lines", fn.Name.Name, t.lines(fn))})
			}
		}
	}
	return found
}

const saysNothing = " util utils helper helpers common misc types "

func fileNames(t *tree) []violation {
	var found []violation
	seen := map[string]bool{}
	for _, name := range t.all {
		for p := name; p != "." && !seen[p]; p = path.Dir(p) {
			seen[p] = true
			base, _, _ := strings.Cut(path.Base(p), ".")
			base = strings.TrimSuffix(base, "_test")
			if base != "" && strings.Contains(saysNothing, " "+base+" ") {
				found = append(found, violation{p, "a name that says nothing"})
			}
		}
	}
	return found
}

// rootEntries counts files and directories of the root, and nested modules. The directory of
// git is not counted.
func rootEntries(t *tree) []violation {
	entries, err := fs.ReadDir(t.fsys, ".")
	if err != nil {
		return []violation{{".", err.Error()}}
	}
	n := 0
	for _, e := range entries {
		if e.Name() != ".git" {
			n++
		}
	}
	if n > maxRoot {
		return []violation{{".", fmt.Sprintf("%d entries, limit %d", n, maxRoot)}}
	}
	return nil
}
