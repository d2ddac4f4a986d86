package repocheck

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"slices"
	"strconv"
	"strings"
)

func tokenFields(t *tree) []violation {
	var stored []string
	var alias *ast.GenDecl
	for _, f := range t.code {
		if f.test || f.dir != "." && f.dir != "storage" {
			continue
		}
		decl, spec := typeNamed(f.ast, "Token")
		if spec == nil {
			continue
		}
		if s, ok := spec.Type.(*ast.StructType); ok && f.dir == "storage" {
			stored = fieldsOf(s)
		} else if f.dir == "." {
			alias = decl
		}
	}
	if alias == nil {
		return nil
	}
	var found []violation
	add := func(what string) { found = append(found, violation{t.at(alias), what}) }
	listed := listedFields(alias.Doc.Text())
	for i := range max(len(listed), len(stored)) {
		got, want := "nothing", "nothing"
		if i < len(listed) {
			got = listed[i]
		}
		if i < len(stored) {
			want = stored[i]
		}
		if got != want {
			add(fmt.Sprintf("the comment has %q where storage.Token has %q", got, want))
		}
	}
	return found
}

// typeNamed returns the declaration of the type of that name in f, or nil.
func typeNamed(f *ast.File, name string) (*ast.GenDecl, *ast.TypeSpec) {
	for _, decl := range f.Decls {
		d, ok := decl.(*ast.GenDecl)
		if !ok {
			continue
		}
		for _, s := range d.Specs {
			if spec, ok := s.(*ast.TypeSpec); ok && spec.Name.Name == name {
				return d, spec
			}
		}
	}
	return nil, nil
}

// fieldsOf returns each field of s as its name, a space and its type.
func fieldsOf(s *ast.StructType) (fields []string) {
	for _, f := range s.Fields.List {
		for _, name := range f.Names {
			fields = append(fields, name.Name+" "+typeText(f.Type))
		}
	}
	return fields
}

func typeText(x ast.Expr) string {
	switch v := x.(type) {
	case *ast.Ident:
		return v.Name
	case *ast.SelectorExpr:
		return typeText(v.X) + "." + v.Sel.Name
	}
	return fmt.Sprintf("%T", x)
}

// listedFields returns the fields that the indented lines of a comment list, as fieldsOf does.
func listedFields(comment string) (fields []string) {
	for line := range strings.SplitSeq(comment, "\n") {
		code, _, _ := strings.Cut(line, "//")
		words := strings.Fields(strings.ReplaceAll(code, ",", " "))
		if !strings.HasPrefix(line, "\t") || len(words) < 2 {
			continue
		}
		for _, name := range words[:len(words)-1] {
			fields = append(fields, name+" "+words[len(words)-1])
		}
	}
	return fields
}

const verbsFile = "docs/verbs.md"

// outsideModel are the end reasons that the model does not know.
var outsideModel = exceptions{
	"EndClock": "the model has one epoch",
}

func endReasons(t *tree) []violation {
	r := reasonsOf(t)
	verbs, _ := t.read(verbsFile)
	want := []string{""}
	var found []violation
	for _, name := range r.names {
		word := strings.ToLower(strings.TrimPrefix(name.Name, "End"))
		want = append(want, word)
		add := func(what string) { found = append(found, violation{t.at(name), name.Name + what}) }
		if !r.aliases[name.Name] {
			add(" is not in package lapse")
		}
		if !r.used[name.Name] {
			add(" ends nothing: no code of package lapse uses it")
		}
		if !r.modelled[name.Name] && !t.excuses(outsideModel, name.Name) {
			add(" is not in internal/model/model_*_test.go")
		}
		if !strings.Contains(verbs, strconv.Quote(word)) {
			add(" is not in " + verbsFile + " by its word")
		}
	}
	if len(r.names) > 0 && !slices.Equal(r.words, want) {
		found = append(found, violation{"storage", fmt.Sprintf("the words in endReasons are %q, want %q, by the names of the constants", r.words, want)})
	}
	return found
}

// reasons says where a tree has the reasons for which a token ends.
type reasons struct {
	names                   []*ast.Ident    // the constants of package storage
	words                   []string        // of endReasons
	aliases, used, modelled map[string]bool // by name: in package lapse, declared and used; in the model
}

func reasonsOf(t *tree) reasons {
	r := reasons{aliases: map[string]bool{}, used: map[string]bool{}, modelled: map[string]bool{}}
	for _, f := range t.code {
		switch {
		case f.dir == "internal/model" && strings.HasPrefix(path.Base(f.path), "model_"):
			addIdents(r.modelled, f.ast, nil)
		case !f.test && f.dir == "storage":
			for _, d := range genDecls(f) {
				for _, name := range valueNames(d) {
					if strings.HasPrefix(name.Name, "End") {
						r.names = append(r.names, name)
					}
					if name.Name == "endReasons" {
						r.words = elements(d)
					}
				}
			}
		case !f.test && f.dir == ".":
			declared := map[string]bool{}
			for _, d := range genDecls(f) {
				for _, name := range valueNames(d) {
					declared[name.Name], r.aliases[name.Name] = true, true
				}
			}
			addIdents(r.used, f.ast, declared)
		}
	}
	return r
}

// addIdents adds the identifiers in f that are not in except.
func addIdents(to map[string]bool, f *ast.File, except map[string]bool) {
	ast.Inspect(f, func(x ast.Node) bool {
		if id, ok := x.(*ast.Ident); ok && !except[id.Name] {
			to[id.Name] = true
		}
		return true
	})
}

// genDecls returns the declarations in f that are not of functions.
func genDecls(f *goFile) (decls []*ast.GenDecl) {
	for _, decl := range f.ast.Decls {
		if d, ok := decl.(*ast.GenDecl); ok {
			decls = append(decls, d)
		}
	}
	return decls
}

// valueNames returns the names of the constants or variables that d declares.
func valueNames(d *ast.GenDecl) (names []*ast.Ident) {
	for _, s := range d.Specs {
		if spec, ok := s.(*ast.ValueSpec); ok {
			names = append(names, spec.Names...)
		}
	}
	return names
}

// elements returns the strings of the literal that d declares.
func elements(d *ast.GenDecl) (words []string) {
	ast.Inspect(d, func(x ast.Node) bool {
		if lit, ok := x.(*ast.BasicLit); ok && lit.Kind == token.STRING {
			word, _ := strconv.Unquote(lit.Value)
			words = append(words, word)
		}
		return true
	})
	return words
}
