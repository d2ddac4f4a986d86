package lapse

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// tickExported returns the names of the exported functions of this package, and of the
// exported methods of its exported types, that have a context.
func tickExported(t *testing.T) (names []string) {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range tree.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || !tickHasContext(f.Type) {
				continue
			}
			if of := tickReceiver(f); ast.IsExported(of) {
				names = append(names, of+"."+f.Name.Name)
			} else if f.Recv == nil {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

func tickHasContext(f *ast.FuncType) bool {
	for _, p := range f.Params.List {
		if s, ok := p.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Context" {
			return true
		}
	}
	return false
}

// tickReceiver returns the name of the type that f is a method of, or "".
func tickReceiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if generic, ok := of.(*ast.IndexExpr); ok {
		of = generic.X
	}
	name, _ := of.(*ast.Ident)
	return name.Name
}

// TestFault5EveryVerbIsListed: a verb that is added without a line in tickVerbs, which the
// tests of faults 5 and 6 play, fails here.
func TestFault5EveryVerbIsListed(t *testing.T) {
	listed := map[string]bool{"VerifierFunc.Verify": true} // it calls what it is
	for _, v := range tickVerbs {
		name, _, _ := strings.Cut(v.name, " ")
		listed[name] = true
	}
	found := map[string]bool{}
	for _, name := range tickExported(t) {
		if found[name] = true; !listed[name] {
			t.Errorf("%s: no test asks whether it looks at the clock first", name)
		}
	}
	for name := range listed {
		if !found[name] {
			t.Errorf("%s: there is no such verb", name)
		}
	}
	for _, of := range []reflect.Type{reflect.TypeFor[*Manager](), reflect.TypeFor[*Pairs](), reflect.TypeFor[*Hold]()} {
		for n := range of.NumMethod() {
			name := of.Elem().Name() + "." + of.Method(n).Name
			switch name {
			case "Manager.Now", "Pairs.Access", "Hold.Context", "Hold.Token", "Hold.Release": // they decide nothing
			default:
				if !listed[name] {
					t.Errorf("%s: no test asks whether it looks at the clock first", name)
				}
			}
		}
	}
}

// records returns all that is stored.
func (w *tickWorld) records() (all []storage.Record) {
	w.t.Helper()
	for rec, err := range w.store.Store.List(w.ctx, storage.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, rec)
	}
	return all
}

// TestFault5EveryVerbUnderGuardStrict: once a clock that is behind has settled, every verb
// of every type answers ErrClock, and writes nothing, whichever is the first to look.
func TestFault5EveryVerbUnderGuardStrict(t *testing.T) {
	for _, v := range tickVerbs {
		if v.name == "Manager.AcceptClock" {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			w := newTickWorld(t, GuardStrict)
			w.clock.set(-2 * time.Hour)
			w.m.Peek(w.ctx, w.plain.Bearer) // who looks finds it behind; the Pairs have not looked
			w.clock.pass(defaultSettle + time.Millisecond)
			before := w.records()
			if _, err := v.do(w); !errors.Is(err, ErrClock) || errors.Is(err, ErrUnauthenticated) {
				t.Errorf("%v; want ErrClock", err)
			}
			if after := w.records(); !reflect.DeepEqual(after, before) {
				t.Errorf("it has written: %d records of %d", len(after), len(before))
			}
			w.clock.set(2 * time.Hour)
			if _, err := v.do(w); err != nil {
				t.Errorf("once the clock is right: %v", err)
			}
		})
	}
}

// TestFault5EveryVerbBeforeItSettles: until then every verb works.
func TestFault5EveryVerbBeforeItSettles(t *testing.T) {
	for _, v := range tickVerbs {
		w := newTickWorld(t, GuardStrict)
		w.clock.set(-2 * time.Hour)
		w.m.Peek(w.ctx, w.plain.Bearer)
		w.clock.pass(defaultSettle)
		if _, err := v.do(w); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}
