package repocheck

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"slices"
	"strings"
)

// wordsToDo are the directories, with all below them, whose words are still to be rewritten. The
// rules of this file skip them. The aim is an empty list. "." stands for the root alone. Nested modules,
// such as bench, are no part of the tree.
var wordsToDo = []string{}

// worded returns the files whose words the rules judge.
func worded(t *tree) (files []*goFile) {
	for _, f := range t.code {
		if !f.test && !f.in(wordsToDo...) {
			files = append(files, f)
		}
	}
	return files
}

// bannedWords make a reader guess of whom or of what a sentence speaks.
var bannedWords = regexp.MustCompile(`(?i)\b(whoever|nobody|somebody|anybody|anew|but\s+for)\b`)

func plainWords(t *tree) (found []violation) {
	for _, f := range worded(t) {
		for _, group := range f.ast.Comments {
			found = append(found, banned(f.path, t.fset.Position(group.Pos()).Line, commentText(group))...)
		}
	}
	for _, name := range t.all {
		if text, ok := t.read(name); ok && path.Ext(name) == ".md" {
			found = append(found, banned(name, 1, strings.Join(prose(text), "\n"))...)
		}
	}
	return found
}

// banned returns the banned words in text, which begins at that line of the file.
func banned(file string, line int, text string) (found []violation) {
	for _, at := range bannedWords.FindAllStringIndex(text, -1) {
		found = append(found, violation{
			fmt.Sprintf("%s:%d", file, line+strings.Count(text[:at[0]], "\n")),
			fmt.Sprintf("%q in a comment or a document", strings.Join(strings.Fields(text[at[0]:at[1]]), " ")),
		})
	}
	return found
}

var commentMark = regexp.MustCompile(`(?m)^\s*//`)

// commentText returns the words of a group, line for line, so that a phrase that two lines share is
// found, too.
func commentText(group *ast.CommentGroup) string {
	var lines []string
	for _, c := range group.List {
		lines = append(lines, commentMark.ReplaceAllString(c.Text, ""))
	}
	return strings.Join(lines, "\n")
}

const maxMethodTypes = 2 // of one package, for an unexported method name

// methodNamesAllowed are the names that Go itself uses for methods of any type.
var methodNamesAllowed = exceptions{}

func methodNames(t *tree) []violation {
	types, first := map[[2]string][]string{}, map[[2]string]ast.Node{}
	for _, f := range worded(t) {
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || fn.Recv == nil || fn.Name.IsExported() {
				continue
			}
			key := [2]string{f.dir, fn.Name.Name}
			if first[key] == nil {
				first[key] = fn
			}
			if !slices.Contains(types[key], receiver(fn)) {
				types[key] = append(types[key], receiver(fn))
			}
		}
	}
	var found []violation
	for key, of := range types {
		if len(of) > maxMethodTypes && !t.excuses(methodNamesAllowed, key[1]) {
			found = append(found, violation{t.at(first[key]), fmt.Sprintf("%s is a method of %s", key[1], strings.Join(of, ", "))})
		}
	}
	return found
}

func commentNames(t *tree) []violation {
	var found []violation
	for _, f := range worded(t) {
		for _, decl := range f.ast.Decls {
			for name, doc := range documented(decl) {
				if text := strings.TrimSpace(doc.Text()); name.IsExported() && text != "" && !beginsWith(text, name.Name) {
					found = append(found, violation{t.at(name), "the comment does not begin with " + name.Name})
				}
			}
		}
	}
	return found
}

// documented returns the names that decl declares alone under a comment of their own. The comment
// of a group in parentheses, or of several names, is of all of them.
func documented(decl ast.Decl) map[*ast.Ident]*ast.CommentGroup {
	names := map[*ast.Ident]*ast.CommentGroup{}
	switch d := decl.(type) {
	case *ast.FuncDecl:
		if d.Recv == nil || ast.IsExported(receiver(d)) {
			names[d.Name] = d.Doc
		}
	case *ast.GenDecl:
		for _, spec := range d.Specs {
			name, doc := declared(spec)
			if doc == nil && d.Lparen == token.NoPos {
				doc = d.Doc
			}
			if name != nil {
				names[name] = doc
			}
		}
	}
	return names
}

// declared returns the one name that spec declares, or nil, and the comment above spec.
func declared(spec ast.Spec) (*ast.Ident, *ast.CommentGroup) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		return s.Name, s.Doc
	case *ast.ValueSpec:
		if len(s.Names) == 1 {
			return s.Names[0], s.Doc
		}
	}
	return nil, nil
}

func beginsWith(text, name string) bool {
	rest, ok := strings.CutPrefix(text, name)
	return ok && (rest == "" || strings.ContainsAny(rest[:1], " \n:,."))
}

const glossaryFile = "docs/glossary.md"

var glossaryEntry = regexp.MustCompile(`^- \*\*([^*]+)\*\*: `)

// glossary wants every entry in the code, in some form of the word, and each one once and in
// order.
func glossary(t *tree) []violation {
	text, ok := t.read(glossaryFile)
	if !ok {
		return []violation{{glossaryFile, "missing"}}
	}
	code := codeText(t)
	var found []violation
	last := ""
	for i, line := range strings.Split(text, "\n") {
		m := glossaryEntry.FindStringSubmatch(line)
		if m == nil {
			continue
		}
		at, word := fmt.Sprintf("%s:%d", glossaryFile, i+1), m[1]
		switch {
		case word <= last:
			found = append(found, violation{at, word + " stands behind " + last})
		case !strings.Contains(code, strings.ReplaceAll(word, " ", "")):
			found = append(found, violation{at, "no code uses " + word})
		}
		last = word
	}
	return found
}

// codeText returns the Go code outside tests in lower case and without spaces, so that a term of
// two words is found as a name, too.
func codeText(t *tree) string {
	var all strings.Builder
	for _, f := range t.code {
		if !f.test {
			all.WriteString(strings.Join(strings.Fields(strings.ToLower(string(f.src))), ""))
		}
	}
	return all.String()
}
