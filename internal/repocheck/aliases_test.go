package repocheck

import (
	"fmt"
	"go/ast"
	"go/token"
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

func endReasons(t *tree) []violation {
	var found []violation
	var words []string
	want, stored, aliases := []string{""}, map[string]string{}, map[string]bool{}
	for _, f := range t.code {
		if f.test || f.dir != "." && f.dir != "storage" {
			continue
		}
		for _, decl := range f.ast.Decls {
			d, ok := decl.(*ast.GenDecl)
			if !ok {
				continue
			}
			for _, name := range valueNames(d) {
				switch exported := strings.HasPrefix(name.Name, "End"); {
				case exported && f.dir == "storage":
					stored[name.Name] = t.at(name)
					want = append(want, strings.ToLower(strings.TrimPrefix(name.Name, "End")))
				case exported:
					aliases[name.Name] = true
				case name.Name == "endReasons":
					words = elements(d)
				}
			}
		}
	}
	for name, at := range stored {
		if !aliases[name] {
			found = append(found, violation{at, name + " is not in package lapse"})
		}
	}
	if len(stored) > 0 && !slices.Equal(words, want) {
		found = append(found, violation{"storage", fmt.Sprintf("the words in endReasons are %q, want %q, by the names of the constants", words, want)})
	}
	return found
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
