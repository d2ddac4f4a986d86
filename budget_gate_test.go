package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestBudgetUnder64Callers: as many succeed as there are uses, each with another number
// left, and the rest are told that none is.
func TestBudgetUnder64Callers(t *testing.T) {
	const callers = 64
	for _, uses := range []int{1, 5, callers} {
		for _, gate := range []storagetest.Op{opGet, opUpdate} {
			onStores(t, func(t *testing.T, store *storagetest.Faulty) {
				ctx := context.Background()
				m, _ := gateManager(t, store, lapse.Policy{})
				i, err := m.Issue(ctx, lapse.Grant{Subject: "ana", MaxUses: uses})
				if err != nil {
					t.Fatal(err)
				}
				lefts := make([]int, callers)
				arrivals(store, callers, gate)
				errs := together(callers, func(n int) error {
					tok, err := m.Authenticate(ctx, i.Bearer)
					lefts[n] = tok.UsesLeft
					return err
				})
				store.Before(nil)
				seen := make(map[int]int)
				for n, err := range errs {
					if err == nil {
						seen[lefts[n]]++
					} else if !errors.Is(err, lapse.ErrExhausted) {
						t.Errorf("Authenticate: %v", err)
					}
				}
				for left := range uses {
					if seen[left] != 1 {
						t.Errorf("%d callers were told that %d of %d uses are left", seen[left], left, uses)
					}
				}
				if len(seen) != uses {
					t.Errorf("%d succeeded; want %d", len(seen), uses)
				}
				_, err = m.Peek(ctx, i.Bearer)
				wantIs(t, "Peek", err, lapse.ErrExhausted)
			})
		}
	}
}

// TestRenewAgainstLastUse: a Renew that was judged before the last use is refused after
// it, and told of, and gives no use back.
func TestRenewAgainstLastUse(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	f.clock.add(time.Minute)
	f.store.Before(func(op storagetest.Op) {
		if op == opUpdate {
			f.store.Before(nil)
			if _, err := f.Authenticate(f.ctx, i.Bearer); err != nil {
				t.Error(err)
			}
		}
	})
	f.events = nil
	_, err := f.Renew(f.ctx, i.Bearer)
	wantIs(t, "Renew", err, lapse.ErrExhausted)
	var kinds []lapse.EventKind
	for _, e := range f.events {
		kinds = append(kinds, e.Kind)
	}
	wantDiff(t, "events", []lapse.EventKind{lapse.EventEnded, lapse.EventRejected}, kinds)
	if tok := f.token(i.ID); tok.UsesLeft != 0 || tok.EndReason != lapse.EndExhausted {
		t.Errorf("%+v", tok)
	}
}

// TestSpentAfterSweep: a use that finds nothing any more is refused.
func TestSpentAfterSweep(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	i := f.issue(lapse.Grant{Subject: "ana", MaxUses: 1})
	f.store.Before(func(op storagetest.Op) {
		if op == opUpdate {
			f.store.Before(nil)
			f.clock.add(30 * 24 * time.Hour)
			if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
				t.Errorf("Sweep: %d, %v", n, err)
			}
		}
	})
	f.events = nil
	_, err := f.Authenticate(f.ctx, i.Bearer)
	wantIs(t, "Authenticate", err, lapse.ErrUnknown)
	if len(f.events) != 1 || f.events[0].Kind != lapse.EventRejected {
		t.Errorf("events: %+v", f.events)
	}
}

// TestBudgetFaults: a use that failed before its effect is not spent and can be tried
// again; one of which that cannot be told says so, and is spent at most once.
func TestBudgetFaults(t *testing.T) {
	for _, row := range []struct {
		call  int
		mode  storagetest.Mode
		err   error
		want  error
		spent int
	}{
		{1, storagetest.FailBefore, storage.ErrUnavailable, lapse.ErrUnavailable, 0},
		{1, storagetest.FailAfter, errDisk, errDisk, 0}, // a read has no effect
		{1, storagetest.Hang, nil, context.DeadlineExceeded, 0},
		{2, storagetest.FailBefore, storage.ErrUnavailable, lapse.ErrUnavailable, 0},
		{2, storagetest.FailBefore, storage.ErrConflict, lapse.ErrConflict, 0},
		{2, storagetest.FailBefore, storage.ErrClosed, lapse.ErrClosed, 0},
		{2, storagetest.Hang, nil, context.DeadlineExceeded, 0},
		{2, storagetest.FailAfter, storage.ErrOutcomeUnknown, lapse.ErrOutcomeUnknown, 1},
	} {
		for _, uses := range []int{1, 2} {
			t.Run(fmt.Sprintf("call %d/%v %v/%d uses", row.call, row.mode, row.err, uses), func(t *testing.T) {
				f := newFixture(t, lapse.Config{})
				i := f.issue(lapse.Grant{Subject: "ana", MaxUses: uses})
				f.clock.add(time.Minute)
				f.events = nil
				f.store.Reset()
				f.store.Inject(row.call, row.mode, row.err)
				tok, err := f.Authenticate(lateAt(f.ctx, f.store, row.call, row.mode), i.Bearer)
				if !f.store.Fired() {
					t.Fatal("the fault did not happen")
				}
				wantIs(t, "error", err, row.want)
				if errors.Is(err, lapse.ErrUnauthenticated) || tok != (lapse.Token{}) || len(f.events) != 0 {
					t.Errorf("%+v, %v, told of %+v", tok, err, f.events)
				}
				left := uses - row.spent
				if got := f.token(i.ID).UsesLeft; got != left {
					t.Errorf("%d left; want %d", got, left)
				}
				tok, err = f.Authenticate(f.ctx, i.Bearer)
				if left == 0 {
					wantIs(t, "again", err, lapse.ErrExhausted)
				} else if err != nil || tok.UsesLeft != left-1 {
					t.Errorf("again: %+v, %v", tok, err)
				}
			})
		}
	}
}
