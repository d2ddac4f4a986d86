package lapse_test

import (
	"context"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// ends are the ways in which the first of a chain ends.
var ends = []struct {
	name   string
	why    lapse.EndReason
	others bool // whether the whole subject ends for the same reason
	end    func(f *fixture, parent lapse.Issued) error
}{
	{"Expire", lapse.EndRevoked, false, func(f *fixture, parent lapse.Issued) error {
		_, err := f.Expire(f.ctx, parent.ID)
		return err
	}},
	{"ExpireBearer", lapse.EndRevoked, false, func(f *fixture, parent lapse.Issued) error {
		_, err := f.ExpireBearer(f.ctx, parent.Bearer)
		return err
	}},
	{"ExpireSubject", lapse.EndSubject, true, func(f *fixture, parent lapse.Issued) error {
		_, err := f.ExpireSubject(f.ctx, "ana")
		return err
	}},
	{"eviction", lapse.EndEvicted, false, func(f *fixture, parent lapse.Issued) error {
		_, err := f.manager(lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: lapse.LimitEndOldest}}).Issue(f.ctx, lapse.Grant{Subject: "ana"})
		return err
	}},
}

// TestEndOfParentEndsDelegates near and far, in one transaction, each told once and
// after the effect, and nothing else.
func TestEndOfParentEndsDelegates(t *testing.T) {
	for _, row := range ends {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{})
			family := f.chain(3)
			family = append(family, f.delegate(family[0], lapse.Grant{Name: "second"}))
			f.clock.add(time.Millisecond)
			other := f.issue(lapse.Grant{Subject: "ana"})
			others := f.delegate(other, lapse.Grant{})
			f.clock.add(time.Minute)
			now := f.clock.Now().Truncate(time.Millisecond).UTC()
			f.events = nil
			told := 0
			m := f.Manager
			f.Manager = observed(f, func(_ context.Context, e lapse.Event) {
				told++
				if e.Kind == lapse.EventEnded && e.Token != f.token(e.Token.ID) {
					t.Errorf("told of %+v before it was so", e.Token)
				}
			})
			calls := f.calls(func() {
				if err := row.end(f, family[0]); err != nil {
					t.Fatal(err)
				}
			})
			f.Manager = m
			updates := 0
			for _, op := range calls {
				if op == opUpdate {
					updates++
				}
			}
			if updates != 1 {
				t.Errorf("calls: %v; want one Update", calls)
			}
			for n, i := range family {
				want := lapse.EndParent
				if n == 0 || row.others {
					want = row.why
				}
				if tok := f.seen(i); tok.EndReason != want || !tok.EndedAt.Equal(now) {
					t.Errorf("token %d: ended at %v by %v; want %v by %v", n, tok.EndedAt, tok.EndReason, now, want)
				}
				_, err := f.Authenticate(f.ctx, i.Bearer)
				wantIs(t, fmt.Sprint("Authenticate of ", n), err, lapse.ErrRevoked)
			}
			wantRecordsAgree(t, f)
			for _, i := range []lapse.Issued{other, others} {
				if tok := f.seen(i); tok.EndedAt.IsZero() == row.others {
					t.Errorf("one of no kin: %+v", tok)
				}
			}
			if row.name != "eviction" && told != map[bool]int{true: 6, false: 4}[row.others] {
				t.Errorf("told %d times", told)
			}
		})
	}
}

// wantRecordsAgree: it is not enough that a delegate of an ended token is denied. Its
// own record says so.
func wantRecordsAgree(t *testing.T, f *fixture) {
	t.Helper()
	records := make(map[lapse.ID]storage.Record)
	for _, r := range f.contents() {
		records[r.ID] = r
	}
	for _, r := range records {
		if parent := records[r.Parent]; !parent.EndedAt.IsZero() && r.EndedAt.IsZero() {
			t.Errorf("by its record %v lives, and its parent is ended (%v)", r.ID, parent.EndReason)
		}
	}
}

// observed is the fixture's Manager with another observer.
func observed(f *fixture, observe func(context.Context, lapse.Event)) *lapse.Manager {
	f.t.Helper()
	m, err := lapse.New(f.store, lapse.Config{Clock: f.clock, Observe: observe})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// TestEndOfTheMiddleOne leaves those above it, and ends those below.
func TestEndOfTheMiddleOne(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	all := f.chain(4)
	f.clock.add(time.Minute)
	f.events = nil
	if _, err := f.ExpireBearer(f.ctx, all[1].Bearer); err != nil {
		t.Fatal(err)
	}
	var told []lapse.ID
	for _, e := range f.events {
		told = append(told, e.Token.ID)
	}
	wantDiff(t, "told of the ends", []lapse.ID{all[1].ID, all[2].ID, all[3].ID}, told)
	for n, want := range []lapse.EndReason{0, lapse.EndRevoked, lapse.EndParent, lapse.EndParent} {
		if tok := f.seen(all[n]); tok.EndReason != want {
			t.Errorf("token %d: %v; want %v", n, tok.EndReason, want)
		}
	}
	_, err := f.Delegate(f.ctx, all[2].Bearer, lapse.Grant{})
	wantIs(t, "Delegate from one below", err, lapse.ErrRevoked)
	if d := f.delegate(all[0], lapse.Grant{}); d.Parent != all[0].ID {
		t.Errorf("from the first: %+v", d)
	}
}

// TestKeptDelegate: one to keep is ended with the one that it came from.
func TestKeptDelegate(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	all := f.chain(3)
	other := f.issue(lapse.Grant{Subject: "ana"})
	others := f.delegate(other, lapse.Grant{})
	f.clock.add(time.Minute)
	f.events = nil
	var n int
	calls := f.calls(func() {
		var err error
		if n, err = f.ExpireSubject(f.ctx, "ana", all[2].ID, other.ID); err != nil {
			t.Fatal(err)
		}
	})
	if n != 4 || len(f.events) != 4 {
		t.Errorf("ended %d, told %d times; want 4", n, len(f.events))
	}
	wantDiff(t, "calls", []storagetest.Op{opUpdate}, calls)
	for i, want := range map[lapse.ID]lapse.EndReason{
		all[0].ID: lapse.EndSubject, all[1].ID: lapse.EndSubject, all[2].ID: lapse.EndParent, other.ID: 0, others.ID: lapse.EndSubject,
	} {
		if got := f.token(i).EndReason; got != want {
			t.Errorf("%v: %v; want %v", i, got, want)
		}
	}
}

// TestEndIsForAllTime: a delegate that had run out before the end of its parent does
// not come back when the clock steps back, although nothing of it was written.
func TestEndIsForAllTime(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana", TTL: time.Hour})
	near := f.delegate(parent, lapse.Grant{TTL: time.Minute})
	far := f.delegate(near, lapse.Grant{TTL: time.Hour})
	f.clock.add(2 * time.Minute)
	before := f.contents()
	f.events = nil
	if tok, err := f.ExpireBearer(f.ctx, parent.Bearer); err != nil || tok.EndReason != lapse.EndRevoked {
		t.Fatalf("%+v, %v", tok, err)
	}
	if len(f.events) != 1 {
		t.Errorf("told of %d ends; want that of the parent alone", len(f.events))
	}
	isParent := func(r storage.Record) bool { return r.ID == parent.ID }
	wantDiff(t, "the others' records", slices.DeleteFunc(before, isParent), slices.DeleteFunc(f.contents(), isParent))
	f.clock.add(-90 * time.Second)
	for i, want := range map[*lapse.Issued]error{&near: lapse.ErrExpired, &far: lapse.ErrRevoked} {
		_, err := f.Authenticate(f.ctx, i.Bearer)
		wantIs(t, "Authenticate", err, want)
		if tok := f.seen(*i); tok.EndReason != lapse.EndParent || !tok.EndedAt.Equal(startMilli.Add(2*time.Minute)) {
			t.Errorf("%+v; want it ended with its parent", tok)
		}
		_, err = f.Renew(f.ctx, i.Bearer)
		wantIs(t, "Renew", err, want)
	}
}
