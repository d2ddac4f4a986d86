package lapse_test

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestRotateAgain rotates a token in its overlap once more, after something has
// happened to its successor.
func TestRotateAgain(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(f *fixture, successor lapse.Issued) error
		want error
		ends lapse.EndReason // of the first successor
	}{
		{"nothing", func(*fixture, lapse.Issued) error { return nil }, nil, lapse.EndRotated},
		{"Peek", func(f *fixture, s lapse.Issued) error { _, err := f.Peek(f.ctx, s.Bearer); return err }, nil, lapse.EndRotated},
		{"Authenticate", func(f *fixture, s lapse.Issued) error { _, err := f.Authenticate(f.ctx, s.Bearer); return err }, lapse.ErrRotated, 0},
		{"Renew", func(f *fixture, s lapse.Issued) error { _, err := f.Renew(f.ctx, s.Bearer); return err }, lapse.ErrRotated, 0},
		{"Delegate", func(f *fixture, s lapse.Issued) error {
			_, err := f.Delegate(f.ctx, s.Bearer, lapse.Grant{})
			return err
		}, lapse.ErrRotated, 0},
		{"Expire", func(f *fixture, s lapse.Issued) error { _, err := f.Expire(f.ctx, s.ID); return err }, nil, lapse.EndExpired},
		{"Authenticate, Expire", func(f *fixture, s lapse.Issued) error {
			_, used := f.Authenticate(f.ctx, s.Bearer)
			_, err := f.Expire(f.ctx, s.ID)
			return errors.Join(used, err)
		}, lapse.ErrRotated, lapse.EndExpired},
		{"Rotate", func(f *fixture, s lapse.Issued) error { _, err := f.Rotate(f.ctx, s.Bearer, time.Minute); return err }, lapse.ErrExpired, 0},
	} {
		for _, overlap := range []time.Duration{0, time.Second, time.Minute} {
			// A use within RenewEvery of the issue is recorded all the same.
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{RenewEvery: time.Hour}})
			old := f.issue(lapse.Grant{Subject: "ana"})
			first := rotate(t, f, old.Bearer, time.Minute)
			f.clock.add(time.Millisecond)
			if err := row.do(f, first); err != nil {
				t.Fatal(row.name, err)
			}
			before := f.contents()
			f.events = nil
			second, err := f.Rotate(f.ctx, old.Bearer, overlap)
			wantIs(t, row.name, err, row.want)
			if got := f.token(first.ID).EndReason; got != row.ends {
				t.Errorf("%s, overlap %v: the first successor ended as %q; want %q", row.name, overlap, got, row.ends)
			}
			if row.want != nil {
				wantDiff(t, row.name+": contents", before, f.contents())
				continue
			}
			f.wantAgain(t, row.name, overlap, old, first, second)
		}
	}
}

// wantAgain: second alone is a successor of old, whose overlap is the shorter one.
func (f *fixture) wantAgain(t *testing.T, name string, overlap time.Duration, old, first, second lapse.Issued) {
	t.Helper()
	kinds := f.kinds()
	f.wantPeek(t, name+": the first successor", first.Bearer, lapse.ErrExpired)
	f.wantPeek(t, name+": the second successor", second.Bearer, nil)
	was := f.token(old.ID)
	if was.Successor != second.ID || second.Predecessor != old.ID || second.Family != old.ID {
		t.Errorf("%s: the links are %v and %v", name, was.Successor, second.Predecessor)
	}
	until := startMilli.Add(time.Millisecond + overlap)
	if limit := startMilli.Add(time.Minute); limit.Before(until) {
		until = limit
	}
	if !was.DeadFrom().Equal(until) {
		t.Errorf("%s, overlap %v: the old one is dead from %v; want %v", name, overlap, was.DeadFrom(), until)
	}
	want := []lapse.EventKind{lapse.EventIssued}
	if got := f.token(first.ID); got.EndReason == lapse.EndRotated {
		if got.Successor != second.ID {
			t.Errorf("%s: what replaced the first successor is %v", name, got.Successor)
		}
		want = append([]lapse.EventKind{lapse.EventEnded}, want...)
	}
	if overlap == 0 {
		want = append([]lapse.EventKind{lapse.EventEnded}, want...)
	}
	wantDiff(t, name+": events", want, kinds)
}

// TestASweptSuccessor may have been used, and counts for nobody.
func TestASweptSuccessor(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{Retention: time.Millisecond, MaxTokens: 1}})
	old := f.issue(lapse.Grant{Subject: "ana"})
	got := rotate(t, f, old.Bearer, time.Minute)
	f.Expire(f.ctx, got.ID)
	f.clock.add(2 * time.Millisecond)
	if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	_, err := f.Rotate(f.ctx, old.Bearer, time.Minute)
	wantIs(t, "Rotate", err, lapse.ErrRotated)
	_, err = f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "Issue", err, lapse.ErrLimit)
}

// TestDamagedNeighbours: a damaged successor counts for nobody and may have been used; a
// damaged predecessor is denied as it is.
func TestDamagedNeighbours(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1}})
	old := f.issue(lapse.Grant{Subject: "ana"})
	next := rotate(t, f, old.Bearer, time.Minute)
	over := func(id lapse.ID) *lapse.Manager {
		m, err := lapse.New(&damaged{f.store, id}, lapse.Config{Policy: lapse.Policy{MaxTokens: 1}, Clock: f.clock})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	_, err := over(next.ID).Issue(f.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "Issue over a damaged successor", err, lapse.ErrLimit)
	_, err = over(next.ID).Rotate(f.ctx, old.Bearer, time.Minute)
	wantIs(t, "Rotate over a damaged successor", err, lapse.ErrCorrupt)
	_, err = over(old.ID).Rotate(f.ctx, next.Bearer, time.Minute)
	wantIs(t, "Rotate over a damaged predecessor", err, nil)
}

// TestGonePredecessors: one that ran out by itself is not ended after that, and one that
// was swept is in nobody's way.
func TestGonePredecessors(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{Retention: time.Millisecond}})
	a := f.issue(lapse.Grant{Subject: "ana"})
	b := rotate(t, f, a.Bearer, time.Minute)
	f.clock.add(time.Minute)
	c := rotate(t, f, b.Bearer, time.Minute)
	if got := f.token(a.ID); !got.EndedAt.IsZero() {
		t.Errorf("%+v; want it to have run out", got)
	}
	f.clock.add(time.Minute + 2*time.Millisecond)
	if n, err := f.Sweep(f.ctx); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if got := rotate(t, f, c.Bearer, 0); got.Family != a.ID {
		t.Errorf("%+v; want the family of the first", got.Token)
	}
}

// TestOnePredecessor: rotating a token in its predecessor's overlap ends that one and
// what it delegated.
func TestOnePredecessor(t *testing.T) {
	for _, overlap := range []time.Duration{0, time.Minute} {
		f := newFixture(t, lapse.Config{})
		a := f.issue(lapse.Grant{Subject: "ana"})
		b := rotate(t, f, a.Bearer, time.Hour)
		delegate, err := f.Delegate(f.ctx, a.Bearer, lapse.Grant{})
		if err != nil {
			t.Fatal(err)
		}
		f.clock.add(time.Minute)
		c := rotate(t, f, b.Bearer, overlap)
		if got := f.token(a.ID); got.EndReason != lapse.EndRotated || got.Successor != b.ID {
			t.Errorf("the predecessor: %+v; want it ended as rotated", got)
		}
		if got := f.token(delegate.ID).EndReason; got != lapse.EndParent {
			t.Errorf("its delegate ended as %v", got)
		}
		if f.live(b.ID) != (overlap > 0) || !f.live(c.ID) || c.Family != a.ID || c.Predecessor != b.ID {
			t.Errorf("overlap %v: %+v, then %+v", overlap, f.token(b.ID), c.Token)
		}
	}
}

// TestRotateAtRandom takes random steps with all tokens of a family and counts after
// each: no token has two live successors, none has a live predecessor that has one of
// its own, and no overlap grows.
func TestRotateAtRandom(t *testing.T) {
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 7))
		f := newFixture(t, keyed(lapse.Policy{RenewEvery: time.Minute}, 1))
		held := []lapse.Issued{obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})}
		ends := map[lapse.ID]time.Time{}
		for step := range 40 {
			i := held[r.IntN(len(held))]
			switch r.IntN(6) {
			case 0, 1:
				got, err := f.Rotate(f.ctx, i.Bearer, time.Duration(r.IntN(4))*10*time.Minute)
				if err == nil {
					held = append(held, got)
				}
			case 2:
				f.Authenticate(f.ctx, i.Bearer)
			case 3:
				f.clock.add(time.Duration(r.IntN(20)) * time.Minute)
			case 4:
				if got, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana"}); err == nil && !got.Reused {
					held = append(held, got)
				}
			case 5:
				if r.IntN(4) == 0 {
					f.Expire(f.ctx, i.ID)
				}
			}
			if err := f.wellTied(ends); err != nil {
				t.Fatalf("seed %d, step %d: %v", seed, step, err)
			}
		}
	}
}

// wellTied says what is wrong with the links between ana's tokens, if anything. ends
// are the ends of the overlaps so far.
func (f *fixture) wellTied(ends map[lapse.ID]time.Time) error {
	all, err := collect(f.Tokens(f.ctx, "ana"))
	if err != nil {
		return err
	}
	live := map[lapse.ID]lapse.Token{} // by predecessor
	for _, tok := range all {
		if !tok.Live(f.clock.Now()) {
			continue
		}
		if other, ok := live[tok.Predecessor]; ok && tok.Predecessor != (lapse.ID{}) {
			return fmt.Errorf("%v and %v both replace %v", other.ID, tok.ID, tok.Predecessor)
		}
		live[tok.Predecessor] = tok
		if before := f.token(tok.ID).Predecessor; before != (lapse.ID{}) && tok.Successor != (lapse.ID{}) && f.live(before) {
			return fmt.Errorf("%v is rotated, and its predecessor lives", tok.ID)
		}
	}
	for _, tok := range all {
		if tok.Successor == (lapse.ID{}) {
			continue
		}
		if end, ok := ends[tok.ID]; ok && tok.DeadFrom().After(end) {
			return fmt.Errorf("the overlap of %v grew from %v to %v", tok.ID, end, tok.DeadFrom())
		}
		ends[tok.ID] = tok.DeadFrom()
	}
	return nil
}

// TestWellTiedFindsWhatIsWrong, or the tests that ask it mean nothing.
func TestWellTiedFindsWhatIsWrong(t *testing.T) {
	for name, plant := range map[string]func(f *fixture, old, next, other lapse.Issued){
		"nothing": nil,
		"two successors": func(f *fixture, old, _, other lapse.Issued) {
			f.change(other.ID, func(r *storage.Record) { r.Predecessor = old.ID })
		},
		"two predecessors": func(f *fixture, _, next, other lapse.Issued) {
			f.change(next.ID, func(r *storage.Record) { r.Successor = other.ID })
		},
		"an overlap that grew": func(f *fixture, old, _, _ lapse.Issued) {
			f.change(old.ID, func(r *storage.Record) {
				r.ExpiresAt, r.MaxExpiresAt = r.ExpiresAt.Add(time.Millisecond), r.MaxExpiresAt.Add(time.Millisecond)
			})
		},
	} {
		f := newFixture(t, lapse.Config{})
		old, other := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"})
		next := rotate(t, f, old.Bearer, time.Minute)
		ends := map[lapse.ID]time.Time{}
		if err := f.wellTied(ends); err != nil {
			t.Fatal(err)
		}
		if plant != nil {
			plant(f, old, next, other)
		}
		if err := f.wellTied(ends); (err == nil) != (plant == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
