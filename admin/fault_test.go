package admin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	gotoken "go/token"
	"iter"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// crossed returns err as it comes out on the client.
func crossed(t *testing.T, err error) error {
	t.Helper()
	text, failed := json.Marshal(toFault(err))
	if failed != nil {
		t.Fatal(failed)
	}
	var f fault
	if err := strictly(text, &f); err != nil {
		t.Fatal(err)
	}
	return f.err()
}

// TestErrorsCross sends every error of the table, alone and with a second one, and asks the same of both ends.
func TestErrorsCross(t *testing.T) {
	for _, k := range kinds {
		want := lapse.Code(k.err)
		if k.word != want && want != "internal" && k.err != context.DeadlineExceeded {
			t.Errorf("%v has the word %q, want %q", k.err, k.word, want)
		}
		for _, err := range []error{k.err, fmt.Errorf("lapse: list: %w", k.err), fmt.Errorf("%w: %w", lapse.ErrCorrupt, k.err)} {
			got := crossed(t, err)
			if got.Error() != err.Error() || lapse.Code(got) != lapse.Code(err) {
				t.Errorf("%q came as %q, of code %q", err, got, lapse.Code(got))
			}
			for _, other := range kinds {
				if errors.Is(got, other.err) != errors.Is(err, other.err) {
					t.Errorf("%q: errors.Is(%v) is %v", err, other.err, errors.Is(got, other.err))
				}
			}
		}
	}
	if err := crossed(t, errors.New("own")); err.Error() != "own" || lapse.Code(err) != "internal" {
		t.Error("an error of no kind:", err)
	}
	if err := toFault(nil).err(); err != nil {
		t.Error("no error:", err)
	}
	if err := (&fault{Message: "x"}).err(); !errors.Is(err, ErrProtocol) {
		t.Error("a fault without data:", err)
	}
	future := &fault{Message: "x", Data: &cause{Code: "sulky", Kinds: []string{"sulky", "unauthenticated"}}}
	if err := future.err(); !errors.Is(err, lapse.ErrUnauthenticated) {
		t.Error("a kind of a newer version:", err)
	}
}

// TestTypedErrorsCross sends the errors that programs look into.
func TestTypedErrorsCross(t *testing.T) {
	for _, kind := range []error{lapse.ErrExpired, lapse.ErrRevoked, lapse.ErrSuspended, lapse.ErrReplaced, lapse.ErrUnknown, lapse.ErrProof} {
		want := &lapse.Rejection{Err: kind, ID: lapse.ID{1, 2}, Subject: "ana", Generation: 3, At: start, Reason: lapse.EndSubject, EndedBy: "uid 0", EndNote: "n"}
		var got *lapse.Rejection
		err := crossed(t, fmt.Errorf("lapse: peek: %w", want))
		if !errors.As(err, &got) || *got != *want || got.Error() != want.Error() {
			t.Errorf("%v came as %+v", want, got)
		}
	}
	var grant *lapse.GrantError
	if err := crossed(t, &lapse.GrantError{Field: "TTL", Limit: "too long"}); !errors.As(err, &grant) || grant.Field != "TTL" || grant.Limit != "too long" {
		t.Error("a GrantError came as", err)
	}
	var scope *lapse.ScopeError
	want := &lapse.ScopeError{Missing: []string{"a"}, More: 2, Limit: "l"}
	if err := crossed(t, want); !errors.As(err, &scope) || cmp.Diff(scope, want) != "" || !errors.Is(err, lapse.ErrScope) {
		t.Error("a ScopeError came as", err)
	}
	own := fmt.Errorf("vpn only: %w", lapse.ErrRefused) // as Admit may return it
	var rejection *lapse.Rejection
	if err := crossed(t, &lapse.Rejection{Err: own, ID: lapse.ID{1}}); !errors.As(err, &rejection) || !errors.Is(rejection, lapse.ErrRefused) || !strings.Contains(err.Error(), "vpn only") {
		t.Error("a refusal by Admit came as", err)
	}
}

// TestKindsAreAll finds the exported errors of package lapse and of package storage in their source.
func TestKindsAreAll(t *testing.T) {
	texts := map[string]bool{}
	for _, k := range kinds {
		texts[k.err.Error()] = true
	}
	for _, dir := range []string{"..", "../storage"} {
		files := must(filepath.Glob(filepath.Join(dir, "errors.go")))
		for _, name := range files {
			f := must(parser.ParseFile(gotoken.NewFileSet(), name, nil, 0))
			ast.Inspect(f, func(n ast.Node) bool {
				spec, ok := n.(*ast.ValueSpec)
				if !ok || !strings.HasPrefix(spec.Names[0].Name, "Err") {
					return true
				}
				ast.Inspect(spec.Values[0], func(n ast.Node) bool {
					lit, ok := n.(*ast.BasicLit)
					if !ok {
						return true
					}
					text := strings.Trim(lit.Value, `"`)
					if !texts[text] && !texts[lapse.ErrUnauthenticated.Error()+": "+text] {
						t.Errorf("%s: %s is not in kinds: add it with its word", name, spec.Names[0].Name)
					}
					return true
				})
				return true
			})
		}
	}
}

// TestErrorsOfVerbs makes errors by the verbs themselves.
func TestErrorsOfVerbs(t *testing.T) {
	p := newProgram(t).serve()
	ctx, c := t.Context(), p.dial()
	dead := must(p.users.Issue(ctx, lapse.Grant{Subject: "ana"}))
	must(p.users.Expire(ctx, dead.ID))
	for what, tt := range map[string]struct {
		call func(v verbsOf) error
		want error
	}{
		"Token":         {func(v verbsOf) error { _, err := v.Token(ctx, lapse.ID{9}); return err }, lapse.ErrNotFound},
		"Peek":          {func(v verbsOf) error { _, err := v.Peek(ctx, dead.Bearer); return err }, lapse.ErrRevoked},
		"Issue":         {func(v verbsOf) error { _, err := v.Issue(ctx, lapse.Grant{Subject: "a", TTL: -1}); return err }, lapse.ErrInvalidGrant},
		"no subject":    {func(v verbsOf) error { _, err := v.Issue(ctx, lapse.Grant{}); return err }, lapse.ErrInvalidGrant},
		"RotateID":      {func(v verbsOf) error { _, err := v.RotateID(ctx, dead.ID, 0); return err }, lapse.ErrRevoked},
		"overlap":       {func(v verbsOf) error { _, err := v.RotateID(ctx, dead.ID, -1); return err }, lapse.ErrInvalidGrant},
		"Suspend":       {func(v verbsOf) error { _, err := v.Suspend(ctx, lapse.ID{9}); return err }, lapse.ErrNotFound},
		"Resume":        {func(v verbsOf) error { _, err := v.Resume(ctx, dead.ID); return err }, lapse.ErrRevoked},
		"Edit":          {func(v verbsOf) error { _, err := v.Edit(ctx, dead.ID, lapse.Changes{}); return err }, lapse.ErrRevoked},
		"ExpireSubject": {func(v verbsOf) error { _, err := v.ExpireSubject(ctx, ""); return err }, lapse.ErrInvalidGrant},
		"ForgetSubject": {func(v verbsOf) error { _, err := v.ForgetSubject(ctx, "\x01"); return err }, lapse.ErrInvalidGrant},
		"Count":         {func(v verbsOf) error { _, err := v.Count(ctx, lapse.Query{Limit: 1}); return err }, lapse.ErrInvalidQuery},
	} {
		here, there := tt.call(p.users), tt.call(c)
		if !errors.Is(here, tt.want) || !errors.Is(there, tt.want) || here.Error() != there.Error() {
			t.Errorf("%s: the Manager says %q, the Client %q", what, here, there)
		}
		var a, b *lapse.Rejection
		if errors.As(here, &a) != errors.As(there, &b) || a != nil && *a != *b {
			t.Errorf("%s: the Rejection %+v came as %+v", what, a, b)
		}
	}
	none := c.Under("nowhere")
	if _, err := none.Issue(ctx, lapse.Grant{Subject: "a"}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("a prefix without a Manager:", err)
	}
	if _, err := c.Under("key").IssuePair(ctx, lapse.Grant{Subject: "a"}); !errors.Is(err, errors.ErrUnsupported) {
		t.Error("a prefix without Pairs:", err)
	}
}

// verbsOf are the verbs that a Manager and a Client have alike: the compiler compares their types.
type verbsOf interface {
	Token(context.Context, lapse.ID) (lapse.Token, error)
	Peek(context.Context, string) (lapse.Token, error)
	Issue(context.Context, lapse.Grant) (lapse.Issued, error)
	RotateID(context.Context, lapse.ID, nanoseconds) (lapse.Issued, error)
	Expire(context.Context, lapse.ID) (bool, error)
	ExpireBearer(context.Context, string) (lapse.Token, error)
	ExpireSubject(context.Context, string, ...lapse.ID) (int, error)
	Suspend(context.Context, lapse.ID) (bool, error)
	Resume(context.Context, lapse.ID) (bool, error)
	Edit(context.Context, lapse.ID, lapse.Changes) (lapse.Token, error)
	ForgetSubject(context.Context, string) (int, error)
	Count(context.Context, lapse.Query) (int, error)
	List(context.Context, lapse.Query) iter.Seq2[lapse.Token, error]
	Watch(context.Context, lapse.Query) iter.Seq2[lapse.Change, error]
	Holds(context.Context) iter.Seq2[lapse.Held, error]
	Sweep(context.Context) (int, error)
}

var (
	_ verbsOf = (*lapse.Manager)(nil)
	_ verbsOf = (*Client)(nil)
	_ Store   = (*bolt.Store)(nil)
)
