package repocheck

import (
	"go/ast"
	"go/token"
	"strings"
)

func packageComments(t *tree) []violation {
	var found []violation
	packages := map[string]*goFile{} // the first file of each
	comments := map[string]int{}
	for _, f := range t.code {
		if f.test {
			continue
		}
		if packages[f.dir] == nil {
			packages[f.dir] = f
		}
		text := strings.TrimSpace(f.ast.Doc.Text())
		if text == "" {
			continue
		}
		comments[f.dir]++
		name := f.ast.Name.Name
		switch {
		case comments[f.dir] > 1:
			found = append(found, violation{f.path, "a second package comment"})
		case name != "main" && !strings.HasPrefix(text, "Package "+name+" "):
			found = append(found, violation{f.path, "the comment does not begin with \"Package " + name + "\""})
		case f.dir == "." && (f.path != "doc.go" || len(f.ast.Decls) > 0):
			found = append(found, violation{f.path, "the root's package comment stands alone in doc.go"})
		}
	}
	for dir, f := range packages {
		if comments[dir] == 0 {
			found = append(found, violation{f.path, "no package comment in " + dir})
		}
	}
	return found
}

func docComments(t *tree) []violation {
	var found []violation
	for _, f := range t.code {
		if f.test || f.ast.Name.Name == "main" {
			continue
		}
		for _, name := range undocumented(f.ast) {
			found = append(found, violation{t.at(name), name.Name + " has no comment"})
		}
	}
	return found
}

// undocumented returns the exported names of f that no comment covers.
func undocumented(f *ast.File) (names []*ast.Ident) {
	for _, decl := range f.Decls {
		switch d := decl.(type) {
		case *ast.FuncDecl:
			if d.Doc == nil && d.Name.IsExported() && (d.Recv == nil || ast.IsExported(receiver(d))) {
				names = append(names, d.Name)
			}
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				names = append(names, bareNames(d, spec)...)
			}
		}
	}
	return names
}

// bareNames returns the exported names of spec if neither it nor its group has a
// comment. A group's comment covers constants and variables, not types.
func bareNames(group *ast.GenDecl, spec ast.Spec) (names []*ast.Ident) {
	switch s := spec.(type) {
	case *ast.TypeSpec:
		alone := group.Lparen == token.NoPos
		if s.Name.IsExported() && s.Doc == nil && (group.Doc == nil || !alone) {
			names = append(names, s.Name)
		}
	case *ast.ValueSpec:
		for _, name := range s.Names {
			if name.IsExported() && group.Doc == nil && s.Doc == nil && s.Comment == nil {
				names = append(names, name)
			}
		}
	}
	return names
}

// receiver returns the name of the type whose method fn is.
func receiver(fn *ast.FuncDecl) string {
	x := fn.Recv.List[0].Type
	for {
		switch v := x.(type) {
		case *ast.StarExpr:
			x = v.X
		case *ast.IndexExpr:
			x = v.X
		case *ast.IndexListExpr:
			x = v.X
		case *ast.Ident:
			return v.Name
		default:
			return ""
		}
	}
}
