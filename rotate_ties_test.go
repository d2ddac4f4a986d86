package lapse_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

type opOf = storagetest.Op

func (f *fixture) record(id lapse.ID) storage.Record {
	f.t.Helper()
	r, err := f.store.Get(f.ctx, id)
	if err != nil {
		f.t.Fatal(err)
	}
	return r
}

func (f *fixture) checks(err *error) func(context.Context, string) error {
	return func(context.Context, string) error { return *err }
}

func (f *fixture) live(id lapse.ID) bool { return f.token(id).Live(f.clock.Now()) }

// TestAnEndIsNotTheOthers: ending one of a pair ends what was delegated from it, and
// not the other one.
func TestAnEndIsNotTheOthers(t *testing.T) {
	for _, row := range []struct {
		name   string
		oldEnd bool
	}{{"the predecessor ends", true}, {"the successor ends", false}} {
		f := newFixture(t, lapse.Config{})
		old := f.issue(lapse.Grant{Subject: "ana"})
		got := rotate(t, f, old.Bearer, time.Minute)
		ofOld, err := f.Delegate(f.ctx, old.Bearer, lapse.Grant{})
		if err != nil {
			t.Fatal(err)
		}
		ofNew, err := f.Delegate(f.ctx, got.Bearer, lapse.Grant{})
		if err != nil {
			t.Fatal(err)
		}
		ends, stays := []lapse.ID{old.ID, ofOld.ID}, []lapse.ID{got.ID, ofNew.ID}
		if !row.oldEnd {
			ends, stays = stays, ends
		}
		if ended, err := f.Expire(f.ctx, ends[0]); !ended || err != nil {
			t.Fatal(ended, err)
		}
		for n := range 2 {
			if f.live(ends[n]) || !f.live(stays[n]) {
				t.Errorf("%s: %d: alive are %v and %v; want the second alone", row.name, n, f.live(ends[n]), f.live(stays[n]))
			}
		}
	}
}

// TestRotateEndsDelegates with the token at once, or when its overlap has ended.
func TestRotateEndsDelegates(t *testing.T) {
	for _, overlap := range []time.Duration{0, time.Minute} {
		f := newFixture(t, lapse.Config{})
		old := f.issue(lapse.Grant{Subject: "ana", Scope: "a b"})
		near, err := f.Delegate(f.ctx, old.Bearer, lapse.Grant{Scope: "a"})
		if err != nil {
			t.Fatal(err)
		}
		far, err := f.Delegate(f.ctx, near.Bearer, lapse.Grant{Scope: "a"})
		if err != nil {
			t.Fatal(err)
		}
		f.events = nil
		rotate(t, f, old.Bearer, overlap)
		if overlap == 0 {
			wantDiff(t, "events", []lapse.EventKind{lapse.EventEnded, lapse.EventEnded, lapse.EventEnded, lapse.EventIssued}, f.kinds())
			if got := f.token(far.ID).EndReason; got != lapse.EndParent {
				t.Errorf("the far delegate ended as %v", got)
			}
		} else {
			f.clock.add(overlap - time.Millisecond)
			f.wantPeek(t, "before the overlap's end", far.Bearer, nil)
			f.clock.add(time.Millisecond)
		}
		f.wantPeek(t, "near", near.Bearer, lapse.ErrExpired)
		f.wantPeek(t, "far", far.Bearer, lapse.ErrExpired)
	}
}

// TestRotateADelegate: the successor stays under the parent, in scope, cap and end.
func TestRotateADelegate(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: 2 * time.Hour}})
	parent := f.issue(lapse.Grant{Subject: "ana", Scope: "a b", TTL: 2 * time.Hour})
	delegate, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{Scope: "a", TTL: time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	f.clock.add(time.Hour - time.Millisecond)
	got := rotate(t, f, delegate.Bearer, time.Minute)
	if got.Parent != parent.ID || got.Scope != "a" || got.Family != parent.ID || got.Reduced != nil {
		t.Errorf("successor: %+v; want it under the parent", got)
	}
	if !got.MaxExpiresAt.Equal(parent.MaxExpiresAt) {
		t.Errorf("its cap is %v; want the parent's %v", got.MaxExpiresAt, parent.MaxExpiresAt)
	}
	f.clock.add(30 * time.Minute)
	last := rotate(t, f, got.Bearer, 0)
	wantDiff(t, "reduced", []string{"TTL"}, last.Reduced)
	if !last.ExpiresAt.Equal(parent.MaxExpiresAt) {
		t.Errorf("it lives until %v; want the parent's cap", last.ExpiresAt)
	}
	if ended, err := f.Expire(f.ctx, parent.ID); !ended || err != nil {
		t.Fatal(ended, err)
	}
	_, err = f.Rotate(f.ctx, last.Bearer, 0)
	wantIs(t, "once the parent has ended", err, lapse.ErrExpired)
	if got := f.token(last.ID).EndReason; got != lapse.EndParent {
		t.Errorf("it ended as %v; want with its parent", got)
	}
}

// TestRotateABudget hands on the uses that are left, and no more.
func TestRotateABudget(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	old := f.issue(lapse.Grant{Subject: "ana", MaxUses: 3})
	if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
		t.Fatal(err)
	}
	got := rotate(t, f, old.Bearer, 0)
	if got.MaxUses != 3 || got.UsesLeft != 2 {
		t.Errorf("%d of %d uses are left; want 2 of 3", got.UsesLeft, got.MaxUses)
	}
	spent := 0
	for range 4 {
		if _, err := f.Authenticate(f.ctx, got.Bearer); err == nil {
			spent++
		}
		if _, err := f.Authenticate(f.ctx, old.Bearer); err == nil {
			spent++
		}
	}
	if spent != 2 {
		t.Errorf("%d uses after the rotation; want 2", spent)
	}
}

// TestRotateAtTheLimit: the count does not grow, nobody is evicted, and the old one
// counts again if the new one dies before it.
func TestRotateAtTheLimit(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		for _, overlap := range []time.Duration{0, time.Minute} {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: atLimit}})
			first, old := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"})
			got := rotate(t, f, old.Bearer, overlap)
			if got.Evicted != nil || !f.live(first.ID) || f.live(old.ID) != (overlap > 0) {
				t.Errorf("AtLimit %d, overlap %v: evicted %v", atLimit, overlap, got.Evicted)
			}
			lowered := f.manager(lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: atLimit}})
			got, err := lowered.Rotate(f.ctx, got.Bearer, overlap)
			if err != nil || got.Evicted != nil || !f.live(first.ID) {
				t.Errorf("AtLimit %d, overlap %v, over the limit: %v, %v", atLimit, overlap, got.Evicted, err)
			}
			if atLimit == lapse.LimitRefuse {
				_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
				wantIs(t, "a third", err, lapse.ErrLimit)
			}
		}
	}
}

// TestLimitCountsOneOfTwo: of a token and its successor one counts, whichever is alive.
func TestLimitCountsOneOfTwo(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1}})
	old := f.issue(lapse.Grant{Subject: "ana"})
	got := rotate(t, f, old.Bearer, time.Minute)
	if ended, err := f.Expire(f.ctx, got.ID); !ended || err != nil {
		t.Fatal(ended, err)
	}
	_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "while the old one is alive alone", err, lapse.ErrLimit)
	f.clock.add(time.Minute)
	f.issue(lapse.Grant{Subject: "ana"})

	f = newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}})
	old = f.issue(lapse.Grant{Subject: "ana"})
	got = rotate(t, f, old.Bearer, time.Minute)
	next := f.issue(lapse.Grant{Subject: "ana"})
	wantDiff(t, "evicted", []lapse.ID{got.ID, old.ID}, next.Evicted)
	if f.live(old.ID) || f.live(got.ID) || !f.live(next.ID) {
		t.Error("room was made by the successor alone, and its predecessor lives")
	}
}

// TestRotateWhatWasObtained: Obtain gives the successor, if the Manager had keys.
func TestRotateWhatWasObtained(t *testing.T) {
	for _, row := range []struct {
		name  string
		keys  []byte
		given bool
	}{{"the same key", []byte{1}, true}, {"a new key first", []byte{2, 1}, true}, {"a new key alone", []byte{2}, true}, {"no keys", nil, false}} {
		f := newFixture(t, keyed(lapse.Policy{}, 1))
		g := lapse.Grant{Subject: "ana", Name: "laptop"}
		old := obtain(t, f, f.Manager, g)
		got, err := f.manager(keyed(lapse.Policy{}, row.keys...)).Rotate(f.ctx, old.Bearer, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		again := obtain(t, f, f.manager(keyed(lapse.Policy{}, 2, 1)), g)
		if (again.Bearer == got.Bearer) != row.given || again.Reused != row.given || again.ID == old.ID {
			t.Errorf("%s: Obtain gives %v, Reused %v; want the successor %v: %v", row.name, again.ID, again.Reused, got.ID, row.given)
		}
	}
}

// TestRotateOfAPair: an access token is Refresh's to replace, or it would outlive its
// family's cap.
func TestRotateOfAPair(t *testing.T) {
	p, err := lapse.NewPairs(memory.New(), lapse.PairConfig{})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Issue(t.Context(), lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if _, err := p.Access().Rotate(t.Context(), c.Access.Bearer, time.Minute); !errors.Is(err, lapse.ErrNotRenewable) {
			t.Errorf("Rotate of an access token: %v", err)
		}
		if c, err = p.Refresh(t.Context(), c.Refresh.Bearer); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := p.Access().Authenticate(t.Context(), c.Access.Bearer); err != nil {
		t.Error(err)
	}
}
