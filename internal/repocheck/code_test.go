package repocheck

import (
	"fmt"
	"go/ast"
	"go/token"
	"path"
	"regexp"
	"strconv"
	"strings"
)

// wallClockAllowed are the files, and packages, outside tests and examples that
// may read the clock or start a timer.
var wallClockAllowed = exceptions{
	"internal/steady/system.go":  "the one place where lapse reads the time",
	"admin/patience.go":          "it ends the wait for the other end of a connection, and decides nothing about life",
	"internal/elapsed":           "it counts the time that has passed, waits for it, and knows no time of day",
	"internal/hold/timer.go":     "it paces the reading of a Clock that does not know how much time has passed",
	"storage/bolt/flush.go":      "it paces the flush of renewals, and decides nothing about life",
	"storage/bolt/checkpoint.go": "it paces what has failed, and decides nothing about life",
	"internal/localfile/lock.go": "it waits for another process to close a file",
	"internal/ratio":             "it measures benchmarks; only tests may import it",
	"storage/storagetest":        "a test suite, whose patience with a store that hangs is real time",
}

// clockReaders are the functions by which time passes or is told.
var clockReaders = map[string]*regexp.Regexp{
	"time":    regexp.MustCompile(`^(Now|Since|Until|After|AfterFunc|Sleep|Tick|NewTimer|NewTicker)$`),
	"context": regexp.MustCompile(`^With(Timeout|Deadline)(Cause)?$`),
}

func wallClock(t *tree) []violation {
	var found []violation
	for _, f := range t.code {
		if f.test || f.in("examples") {
			continue
		}
		for name, reader := range clockReaders {
			for _, sel := range selections(f, name) {
				if reader.MatchString(sel.Sel.Name) && !t.excuses(wallClockAllowed, f.path) && !t.excuses(wallClockAllowed, f.dir) {
					found = append(found, violation{t.at(sel), name + "." + sel.Sel.Name})
				}
			}
		}
	}
	return found
}

// selections returns every mention of a member of the imported package, called
// or not. A dot import would hide them: it counts as one.
func selections(f *goFile, pkg string) []*ast.SelectorExpr {
	local := ""
	for _, imp := range f.ast.Imports {
		if name, _ := strconv.Unquote(imp.Path.Value); name == pkg {
			local = path.Base(pkg)
			if imp.Name != nil {
				local = imp.Name.Name
			}
		}
	}
	var found []*ast.SelectorExpr
	ast.Inspect(f.ast, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && local != "" {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local {
				found = append(found, sel)
			}
		}
		return true
	})
	return found
}

// panicAllowed are the packages outside tests and examples that may panic.
var panicAllowed = exceptions{
	"internal/lapsetest":  "only tests import it: Must panics where a test cannot go on",
	"storage/storagetest": "a test suite: what panics under a store is one of its cases",
}

var enders = map[string]*regexp.Regexp{
	"os":  regexp.MustCompile(`^Exit$`),
	"log": regexp.MustCompile(`^(Fatal|Panic)`),
}

func noPanic(t *tree) []violation {
	var found []violation
	for _, f := range t.code {
		if f.test || f.in("examples") {
			continue
		}
		passed := passedOn(f.ast)
		for _, call := range panics(f.ast) {
			if !passed[call] && !t.excuses(panicAllowed, f.dir) {
				found = append(found, violation{t.at(call), "panics"})
			}
		}
		for pkg, ender := range enders {
			for _, sel := range selections(f, pkg) {
				if ender.MatchString(sel.Sel.Name) {
					found = append(found, violation{t.at(sel), pkg + "." + sel.Sel.Name})
				}
			}
		}
	}
	return found
}

func panics(file *ast.File) []*ast.CallExpr {
	var found []*ast.CallExpr
	ast.Inspect(file, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok && isCallOf(call, "panic") {
			found = append(found, call)
		}
		return true
	})
	return found
}

// passedOn returns the calls of panic with a value that the same function has recovered: a panic that
// goes on is none of that function.
func passedOn(file *ast.File) map[*ast.CallExpr]bool {
	passed := map[*ast.CallExpr]bool{}
	for _, decl := range file.Decls {
		f, ok := decl.(*ast.FuncDecl)
		if !ok {
			continue
		}
		recovered := map[string]bool{}
		ast.Inspect(f, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.AssignStmt:
				call, ok := n.Rhs[0].(*ast.CallExpr)
				if fun, _ := n.Lhs[0].(*ast.Ident); ok && fun != nil && isCallOf(call, "recover") {
					recovered[fun.Name] = true
				}
			case *ast.CallExpr:
				if isCallOf(n, "panic") && len(n.Args) == 1 {
					arg, ok := n.Args[0].(*ast.Ident)
					passed[n] = ok && recovered[arg.Name]
				}
			}
			return true
		})
	}
	return passed
}

// isCallOf reports whether call calls the function of that name.
func isCallOf(call *ast.CallExpr, name string) bool {
	fun, ok := call.Fun.(*ast.Ident)
	return ok && fun.Name == name
}

// variablesAllowed are the package variables outside tests and examples that are
// neither errors nor assertions, as directory: name.
var variablesAllowed = exceptions{
	"internal/elapsed: process":      "the instant from which all packages of the process count",
	"internal/lapsetest: Start":      "an instant that Go cannot spell as a constant",
	"internal/lapsetest: StartMilli": "an instant that Go cannot spell as a constant",
	"internal/lapsetest: ErrorsIs":   "an option of comparisons, never written",
	"admin: kinds":                   "lookup table, never written",
	"internal/sample: whole":         "a flag of tests",
	".: storeErrors":                 "lookup table, never written",
	".: codes":                       "lookup table, never written",
	".: eventKinds":                  "lookup table, never written",
	".: eventLevels":                 "lookup table, never written",
	".: outcomeWords":                "lookup table, never written",
	".: verbWords":                   "lookup table, never written",
	".: stepKinds":                   "lookup table, never written",
	"storage: endReasons":            "lookup table, never written",
	"storage: kinds":                 "lookup table, never written",
	"storage: mask":                  "random bits of this process, drawn once, so that no digest prints; never written",
	"internal/base62: worth":         "lookup table, never written",
	"internal/oldfile: castagnoli":   "lookup table, never written",
	"internal/wire: castagnoli":      "lookup table, never written",
	"internal/wire: maxLens":         "lookup table, never written",
	"internal/wire: firstMilli":      "a constant that Go cannot spell as one",
	"internal/wire: lastMilli":       "a constant that Go cannot spell as one",
}

var errorName = regexp.MustCompile(`^(Err|err)[A-Z]`)

func packageVariables(t *tree) []violation {
	var found []violation
	for _, f := range t.code {
		if f.test || f.in("examples") {
			continue
		}
		for _, name := range variables(f.ast) {
			if name.Name == "_" || errorName.MatchString(name.Name) {
				continue
			}
			if !t.excuses(variablesAllowed, f.dir+": "+name.Name) {
				found = append(found, violation{t.at(name), "var " + name.Name})
			}
		}
	}
	return found
}

func variables(f *ast.File) (names []*ast.Ident) {
	for _, decl := range f.Decls {
		if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.VAR {
			for _, spec := range gen.Specs {
				names = append(names, spec.(*ast.ValueSpec).Names...)
			}
		}
	}
	return names
}

// fuzzSeeds wants f.Add in the target itself: seeds that come from elsewhere can
// vanish without a sign.
func fuzzSeeds(t *tree) []violation {
	var found []violation
	for _, f := range t.code {
		for _, decl := range f.ast.Decls {
			fn, ok := decl.(*ast.FuncDecl)
			if !ok || !f.test || fn.Recv != nil || !strings.HasPrefix(fn.Name.Name, "Fuzz") {
				continue
			}
			if params := fn.Type.Params.List; len(params) != 1 || len(params[0].Names) != 1 || !calls(fn.Body, params[0].Names[0].Name, "Add") {
				found = append(found, violation{t.at(fn), fmt.Sprintf("%s has no seed", fn.Name.Name)})
			}
		}
	}
	return found
}

func calls(body ast.Node, receiver, method string) (found bool) {
	ast.Inspect(body, func(n ast.Node) bool {
		if call, ok := n.(*ast.CallExpr); ok {
			if sel, ok := call.Fun.(*ast.SelectorExpr); ok && sel.Sel.Name == method {
				x, ok := sel.X.(*ast.Ident)
				found = found || ok && x.Name == receiver
			}
		}
		return true
	})
	return found
}
