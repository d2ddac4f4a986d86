package lapse_test

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// TestRejectionNamesTheGenerationOfTheText: a Rejection says of which secret the refused
// text was, which need not be the current one.
func TestRejectionNamesTheGenerationOfTheText(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	want := func(what string, err, class error, generation uint32) {
		t.Helper()
		var r *lapse.Rejection
		if !errors.Is(err, class) || !errors.As(err, &r) || r.Generation != generation {
			t.Errorf("%s: %v, of %+v; want %v of generation %d", what, err, r, class, generation)
		}
	}
	old := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	next, err := f.Rotate(f.ctx, old.Bearer, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil { // the last use
		t.Fatal(err)
	}
	_, err = f.Peek(f.ctx, old.Bearer)
	want("previous text, exhausted", err, lapse.ErrExhausted, 0)
	_, err = f.Peek(f.ctx, next.Bearer)
	want("current text, exhausted", err, lapse.ErrExhausted, 1)

	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{})
	n := p.next(c)
	if _, err := p.Access().Expire(p.ctx, c.Access.ID); err != nil {
		t.Fatal(err)
	}
	_, err = p.Access().Authenticate(p.ctx, c.Access.Bearer)
	want("previous access text", err, lapse.ErrRevoked, 0)
	_, err = p.Refresh(p.ctx, c.Refresh.Bearer)
	want("previous refresh text", err, lapse.ErrRevoked, 0)
	_, err = p.Refresh(p.ctx, n.Refresh.Bearer)
	want("current refresh text", err, lapse.ErrRevoked, 1)
}
