package repocheck

import (
	"bytes"
	"fmt"
	"go/ast"
	"io/fs"
	"path"
	"regexp"
	"strings"
)

const (
	maxFile     = 300 // lines
	maxSuite    = 400 // of a file in storage/storagetest, which is mostly a table
	maxFunction = 60
	maxRoot     = 95   // entries of the root
	maxReading  = 1000 // lines of the places of the guided reading, together
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

// readingPlace is a place of the guided reading: a number, and a link to a file or a directory.
var readingPlace = regexp.MustCompile(`(?m)^\*\*\d+\. \[[^\]]+\]\(\.\./([^)]+)\)`)

// guidedReading counts the lines of the places that docs/architecture.md leads a newcomer through, without
// the tests in them.
func guidedReading(t *tree) []violation {
	const document = "docs/architecture.md"
	text, _ := t.read(document)
	places := readingPlace.FindAllStringSubmatch(text, -1)
	sum := 0
	for _, place := range places {
		for _, f := range t.code {
			if !f.test && (f.path == place[1] || f.dir == place[1]) {
				sum += bytes.Count(f.src, []byte("\n"))
			}
		}
	}
	if len(places) == 6 && sum <= maxReading {
		return nil
	}
	return []violation{{document, fmt.Sprintf("%d places with %d lines, limit 6 with %d", len(places), sum, maxReading)}}
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
