package lapse_test

import (
	"context"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
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

func (f *fixture) checks(err *error) func(context.Context, lapse.Token) error {
	return func(context.Context, lapse.Token) error { return *err }
}

func (f *fixture) live(id lapse.ID) bool { return f.token(id).Live(f.clock.Now()) }

// TestRotateAndDelegates: with an overlap delegates live on, as long as they would have;
// without one they end in the same transaction.
func TestRotateAndDelegates(t *testing.T) {
	for _, overlap := range []time.Duration{0, time.Minute} {
		f := newFixture(t, lapse.Config{})
		old := f.issue(lapse.Grant{Subject: "ana", Scope: "a b"})
		near := f.delegate(old, lapse.Grant{Scope: "a"})
		far := f.delegate(near, lapse.Grant{Scope: "a"})
		other := f.delegate(f.issue(lapse.Grant{Subject: "ana", Scope: "a"}), lapse.Grant{})
		f.events = nil
		rotate(t, f, old.Bearer, overlap)
		f.wantPeek(t, "a delegate of another token", other.Bearer, nil)
		if overlap > 0 {
			wantDiff(t, "events", []lapse.EventKind{lapse.EventRotated}, f.kinds())
			f.clock.add(30*time.Minute - time.Millisecond)
			f.wantPeek(t, "near, after the overlap", near.Bearer, nil)
			f.wantPeek(t, "far, after the overlap", far.Bearer, nil)
			continue
		}
		wantDiff(t, "events", []lapse.EventKind{lapse.EventEnded, lapse.EventEnded, lapse.EventRotated}, f.kinds())
		for id, want := range map[lapse.ID]lapse.EndReason{near.ID: lapse.EndRotated, far.ID: lapse.EndParent} {
			if got := f.token(id); got.EndReason != want || !got.EndedAt.Equal(startMilli) {
				t.Errorf("%+v; want it ended as %v", got, want)
			}
		}
		f.wantPeek(t, "near", near.Bearer, lapse.ErrRevoked)
		f.wantPeek(t, "far", far.Bearer, lapse.ErrRevoked)
	}
}

// TestRotateADelegate: it stays under its parent, in scope and end, and keeps its cap.
func TestRotateADelegate(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: 2 * time.Hour}})
	parent := f.issue(lapse.Grant{Subject: "ana", Scope: "a b", TTL: 2 * time.Hour})
	delegate := f.delegate(parent, lapse.Grant{Scope: "a", TTL: time.Hour})
	f.clock.add(time.Hour - time.Millisecond)
	got := rotate(t, f, delegate.Bearer, time.Minute)
	if got.ID != delegate.ID || got.Parent != parent.ID || got.Scope != "a" || got.Family != parent.ID {
		t.Errorf("%+v; want it under the parent", got.Token)
	}
	if !got.MaxExpiresAt.Equal(parent.MaxExpiresAt) {
		t.Errorf("its cap is %v; want the parent's %v", got.MaxExpiresAt, parent.MaxExpiresAt)
	}
	f.clock.add(30 * time.Minute)
	last := rotate(t, f, got.Bearer, 0)
	if !last.ExpiresAt.Equal(parent.MaxExpiresAt) {
		t.Errorf("it lives until %v; want the parent's cap", last.ExpiresAt)
	}
	if !f.live(parent.ID) {
		t.Error("the parent ended with the delegate's old secret")
	}
	if ended, err := f.Expire(f.ctx, parent.ID); !ended || err != nil {
		t.Fatal(ended, err)
	}
	_, err := f.Rotate(f.ctx, last.Bearer, 0)
	wantIs(t, "once the parent has ended", err, lapse.ErrRevoked)
	if got := f.token(last.ID).EndReason; got != lapse.EndParent {
		t.Errorf("it ended as %v; want with its parent", got)
	}
}

// TestDelegateOfThePreviousText lives no longer than that text, whatever renews it or
// rotates it.
func TestDelegateOfThePreviousText(t *testing.T) {
	for _, does := range []string{"nothing", "renewed", "rotated"} {
		f := newFixture(t, lapse.Config{})
		old := f.issue(forAna)
		rotate(t, f, old.Bearer, 10*time.Minute)
		until := startMilli.Add(10 * time.Minute)
		d, err := f.Delegate(f.ctx, old.Bearer, lapse.Grant{})
		if err != nil || !d.ExpiresAt.Equal(until) || !d.MaxExpiresAt.Equal(until) {
			t.Fatalf("%+v, %v; want it to end with the text, at %v", d.Token, err, until)
		}
		wantDiff(t, "reduced", []string{"TTL"}, d.Reduced)
		f.clock.add(time.Minute)
		switch does {
		case "renewed":
			if _, err := f.Renew(f.ctx, d.Bearer); err != nil {
				t.Fatal(err)
			}
		case "rotated":
			d = rotate(t, f, d.Bearer, 0)
		}
		f.clock.add(9*time.Minute - time.Millisecond)
		f.wantPeek(t, does+": before the text ends", d.Bearer, nil)
		f.clock.add(time.Millisecond)
		f.wantPeek(t, does+": as the text ends", d.Bearer, lapse.ErrExpired)
	}
}

// TestRotateABudget: both texts spend the same uses, and there are no more for it.
func TestRotateABudget(t *testing.T) {
	for _, overlap := range []time.Duration{0, time.Minute} {
		f := newFixture(t, lapse.Config{})
		old := f.issue(lapse.Grant{Subject: "ana", MaxUses: 5})
		if _, err := f.Authenticate(f.ctx, old.Bearer); err != nil {
			t.Fatal(err)
		}
		got := rotate(t, f, old.Bearer, overlap)
		if got.MaxUses != 5 || got.UsesLeft != 4 {
			t.Errorf("%d of %d uses are left; want 4 of 5", got.UsesLeft, got.MaxUses)
		}
		spent := map[string]int{}
		for range 6 {
			for _, text := range []string{got.Bearer, old.Bearer} {
				if _, err := f.Authenticate(f.ctx, text); err == nil {
					spent[text]++
				}
			}
		}
		want := map[string]int{got.Bearer: 4}
		if overlap > 0 {
			want = map[string]int{got.Bearer: 2, old.Bearer: 2}
		}
		wantDiff(t, "uses", want, spent)
		if tok := f.token(old.ID); tok.EndReason != lapse.EndExhausted {
			t.Errorf("%+v; want it exhausted", tok)
		}
	}
}

// TestRotateAtTheLimit: a rotation needs no room and ends no other token, and its token
// keeps its place.
func TestRotateAtTheLimit(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		for _, overlap := range []time.Duration{0, time.Minute} {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: atLimit}})
			old := f.issue(forAna)
			f.clock.add(time.Second)
			second := f.issue(forAna)
			f.clock.add(time.Second)
			got := rotate(t, f, old.Bearer, overlap)
			lowered := f.manager(lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: atLimit}})
			again, err := lowered.Rotate(f.ctx, got.Bearer, overlap)
			if err != nil || got.Evicted != nil || again.Evicted != nil || !f.live(second.ID) || !f.live(old.ID) {
				t.Errorf("AtLimit %d, overlap %v: %v, evicted %v and %v", atLimit, overlap, err, got.Evicted, again.Evicted)
			}
			third, err := f.Issue(f.ctx, forAna)
			switch atLimit {
			case lapse.LimitRefuse:
				wantIs(t, "a third", err, lapse.ErrLimit)
			case lapse.LimitEndOldest: // by log-in
				wantDiff(t, "evicted", []lapse.ID{old.ID}, third.Evicted)
			case lapse.LimitEndIdlest: // by the rotation
				wantDiff(t, "evicted", []lapse.ID{second.ID}, third.Evicted)
			}
		}
	}
}

// TestRotateWhatWasObtained: Obtain gives the new text, if the Manager that rotated has
// keys. What one without keys rotated is no token of Obtain any more.
func TestRotateWhatWasObtained(t *testing.T) {
	for _, row := range []struct {
		name  string
		keys  []byte
		given bool
	}{{"the same key", []byte{1}, true}, {"a new key first", []byte{2, 1}, true}, {"a new key alone", []byte{2}, true}, {"no keys", nil, false}} {
		for _, byID := range []bool{false, true} {
			f := newFixture(t, keyed(lapse.Policy{}, 1))
			g := lapse.Grant{Subject: "ana", Name: "laptop"}
			old := obtain(t, f, f.Manager, g)
			m := f.manager(keyed(lapse.Policy{}, row.keys...))
			got, err := m.Rotate(f.ctx, old.Bearer, time.Hour)
			if byID {
				got, err = m.RotateID(f.ctx, old.ID, time.Hour)
			}
			if err != nil {
				t.Fatal(err)
			}
			again := obtain(t, f, f.manager(keyed(lapse.Policy{}, 2, 1)), g)
			if (again.Bearer == got.Bearer) != row.given || again.Existing != row.given || (again.ID == old.ID) != row.given {
				t.Errorf("%s: Obtain gives %v, Existing %v; want the new text: %v", row.name, again.ID, again.Existing, row.given)
			}
			f.wantPeek(t, row.name+": the new text", got.Bearer, nil)
		}
	}
}

// TestEachRotationDrawsASalt: a token that Obtain made has another text after each
// rotation, and each is given again by Obtain.
func TestEachRotationDrawsASalt(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	text, seen, salts := obtain(t, f, f.Manager, forAna).Bearer, map[string]bool{}, map[string]bool{}
	for range 10 {
		seen[text] = true
		next := rotate(t, f, text, 0)
		if got := obtain(t, f, f.Manager, forAna); got.Bearer != next.Bearer || !got.Existing {
			t.Fatal("Obtain does not give the new text")
		}
		sealed := f.record(next.ID).Sealed.Text()
		salts[sealed[len(sealed)-16:]] = true
		text = next.Bearer
	}
	if len(seen) != 10 || len(salts) != 10 {
		t.Errorf("%d texts and %d salts of 10 rotations", len(seen), len(salts))
	}
}
