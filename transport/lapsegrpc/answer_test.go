package lapsegrpc

import (
	"context"
	"errors"
	"fmt"
	"go/ast"
	"go/build"
	"go/parser"
	"go/token"
	"io/fs"
	"maps"
	"path/filepath"
	"strings"
	"testing"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/seed-55daa01a/lapse"
)

// of has every error of lapse by its name, with its code.
var of = map[string]struct {
	err  error
	want codes.Code
}{
	"ErrUnauthenticated":      {lapse.ErrUnauthenticated, codes.Unauthenticated},
	"ErrMalformed":            {lapse.ErrMalformed, codes.Unauthenticated},
	"ErrUnknown":              {lapse.ErrUnknown, codes.Unauthenticated},
	"ErrExpired":              {lapse.ErrExpired, codes.Unauthenticated},
	"ErrRevoked":              {lapse.ErrRevoked, codes.Unauthenticated},
	"ErrSuspended":            {lapse.ErrSuspended, codes.Unauthenticated},
	"ErrReplaced":             {lapse.ErrReplaced, codes.Unauthenticated},
	"ErrRefused":              {lapse.ErrRefused, codes.Unauthenticated},
	"ErrProof":                {lapse.ErrProof, codes.Unauthenticated},
	"ErrExhausted":            {lapse.ErrExhausted, codes.Unauthenticated},
	"ErrReused":               {lapse.ErrReused, codes.Unauthenticated},
	"ErrBadCredentials":       {lapse.ErrBadCredentials, codes.Unauthenticated},
	"ErrAccessDenied":         {lapse.ErrAccessDenied, codes.Unauthenticated},
	"ErrAuthorizationPending": {lapse.ErrAuthorizationPending, codes.Unavailable},
	"ErrSlowDown":             {lapse.ErrSlowDown, codes.Unavailable},
	"ErrGuesses":              {lapse.ErrGuesses, codes.Unavailable},
	"ErrScope":                {lapse.ErrScope, codes.PermissionDenied},
	"ErrInvalidConfig":        {lapse.ErrInvalidConfig, codes.Unavailable},
	"ErrInvalidGrant":         {lapse.ErrInvalidGrant, codes.Unavailable},
	"ErrInvalidQuery":         {lapse.ErrInvalidQuery, codes.Unavailable},
	"ErrLimit":                {lapse.ErrLimit, codes.Unavailable},
	"ErrNotRenewable":         {lapse.ErrNotRenewable, codes.Unavailable},
	"ErrNotDelegable":         {lapse.ErrNotDelegable, codes.Unavailable},
	"ErrRotated":              {lapse.ErrRotated, codes.Unavailable},
	"ErrClock":                {lapse.ErrClock, codes.Unavailable},
	"ErrNoKeys":               {lapse.ErrNoKeys, codes.Unavailable},
	"ErrNotMine":              {lapse.ErrNotMine, codes.Unavailable},
	"ErrInvalidID":            {lapse.ErrInvalidID, codes.Unavailable},
	"ErrInvalidThumbprint":    {lapse.ErrInvalidThumbprint, codes.Unavailable},
	"ErrNotFound":             {lapse.ErrNotFound, codes.Unavailable},
	"ErrConflict":             {lapse.ErrConflict, codes.Unavailable},
	"ErrUnavailable":          {lapse.ErrUnavailable, codes.Unavailable},
	"ErrOutcomeUnknown":       {lapse.ErrOutcomeUnknown, codes.Unavailable},
	"ErrClosed":               {lapse.ErrClosed, codes.Unavailable},
	"ErrCorrupt":              {lapse.ErrCorrupt, codes.Unavailable},
	"ErrLocked":               {lapse.ErrLocked, codes.Unavailable},
}

// Every error has its code, however it is wrapped, and its text is in no answer.
func TestEveryError(t *testing.T) {
	for name := range exported(t) {
		if _, ok := of[name]; !ok {
			t.Errorf("the table lacks lapse.%s", name)
		}
	}
	of := maps.Clone(of)
	type row = struct {
		err  error
		want codes.Code
	}
	of["no bearer"] = row{errNoBearer, codes.Unauthenticated}
	of["another error"] = row{errors.New("leak"), codes.Unavailable}
	of["the store's context"] = row{context.Canceled, codes.Unavailable}
	for name, row := range of {
		for _, err := range []error{row.err, fmt.Errorf("leak: %w", row.err), &lapse.Rejection{Err: row.err, ID: lapse.ID{1}, Subject: "leak"}} {
			got := answer(t.Context(), err)
			if status.Code(got) != row.want || strings.Contains(got.Error(), "leak") || strings.Contains(got.Error(), "lapse") {
				t.Errorf("%s: %v, want the code %v and nothing of the error", name, got, row.want)
			}
		}
	}
}

// Where the call itself has ended, lapse could not tell because of that. A verdict stands.
func TestEndedCalls(t *testing.T) {
	canceled, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("leak"))
	late, cancelLate := context.WithTimeout(t.Context(), 0)
	defer cancelLate()
	for _, row := range []struct {
		ctx  context.Context
		err  error
		want codes.Code
	}{
		{canceled, lapse.ErrUnavailable, codes.Canceled},
		{late, lapse.ErrUnavailable, codes.DeadlineExceeded},
		{canceled, lapse.ErrUnknown, codes.Unauthenticated},
		{late, lapse.ErrScope, codes.PermissionDenied},
	} {
		if got := answer(row.ctx, row.err); status.Code(got) != row.want || strings.Contains(got.Error(), "leak") {
			t.Errorf("%v: %v, want %v", row.err, got, row.want)
		}
	}
}

// exported returns the names of the exported errors of package lapse.
func exported(t *testing.T) map[string]bool {
	t.Helper()
	pkg, err := build.Import("github.com/seed-55daa01a/lapse", ".", build.FindOnly)
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	files, err := filepath.Glob(filepath.Join(pkg.Dir, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatal(err, fs.ErrNotExist)
	}
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range file.Decls {
			if gen, ok := decl.(*ast.GenDecl); ok && gen.Tok == token.VAR {
				addErrors(names, gen)
			}
		}
	}
	if !names["ErrUnauthenticated"] || !names["ErrLocked"] {
		t.Fatalf("found only %v", names)
	}
	return names
}

func addErrors(names map[string]bool, decl *ast.GenDecl) {
	for _, spec := range decl.Specs {
		for _, name := range spec.(*ast.ValueSpec).Names {
			if strings.HasPrefix(name.Name, "Err") {
				names[name.Name] = true
			}
		}
	}
}
