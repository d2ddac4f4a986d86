package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// pairScene is a store with two families, on which one verb is tried.
type pairScene struct {
	*pairs
	stale, old, tip lapse.Credentials // of one family; tip is not refreshed yet
	child           lapse.Issued      // a delegate of tip
}

// newPairScene makes one on what wrap returns for its store; nil is the store itself.
func newPairScene(t *testing.T, wrap func(storage.Store) storage.Store) *pairScene {
	t.Helper()
	var store storage.Store = storagetest.NewFaulty(memory.New())
	if wrap != nil {
		store = wrap(store)
	}
	s := &pairScene{pairs: newPairs(t, store, lapse.PairConfig{
		Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: lapse.LimitEndIdlest}},
	})}
	s.first(lapse.Grant{})
	s.clock.add(time.Second)
	s.stale = s.first(lapse.Grant{})
	s.old = s.next(s.stale)
	s.tip = s.next(s.old)
	var err error
	if s.child, err = s.Delegate(s.ctx, s.tip.Access.Bearer, lapse.Grant{}); err != nil {
		t.Fatal(err)
	}
	s.clock.add(time.Second)
	s.events = nil
	s.store.Reset()
	return s
}

// pairVerbs are what Pairs does to a store, with the token that each presents.
var pairVerbs = []struct {
	name string
	want error // without a fault
	do   func(ctx context.Context, s *pairScene) (gave lapse.Credentials, err error)
}{
	{"Issue", nil, func(ctx context.Context, s *pairScene) (lapse.Credentials, error) {
		return s.Pairs.Issue(ctx, lapse.Grant{Subject: "ana"})
	}},
	{"Refresh", nil, func(ctx context.Context, s *pairScene) (lapse.Credentials, error) {
		return s.Refresh(ctx, s.tip.Refresh.Bearer)
	}},
	{"Refresh again", nil, func(ctx context.Context, s *pairScene) (lapse.Credentials, error) {
		return s.Refresh(ctx, s.old.Refresh.Bearer)
	}},
	{"reuse", lapse.ErrReused, func(ctx context.Context, s *pairScene) (lapse.Credentials, error) {
		return s.Refresh(ctx, s.stale.Refresh.Bearer)
	}},
	{"Expire", nil, func(ctx context.Context, s *pairScene) (lapse.Credentials, error) {
		return lapse.Credentials{}, s.Expire(ctx, s.tip.Access.Bearer)
	}},
}

// wantWhole: the family of stale lives as a whole or not at all, with one refresh
// token that has no successor.
func (s *pairScene) wantWhole(t *testing.T) (alive bool) {
	t.Helper()
	refresh, others := 0, 0
	for _, r := range s.contents() {
		switch {
		case r.Family != s.stale.Refresh.Family || !r.Live(s.clock.Now()):
		case r.Prefix == "lapse_refresh":
			refresh++
		default:
			others++
		}
	}
	if refresh > 1 || (refresh == 0) != (others == 0) {
		t.Errorf("%d refresh tokens and %d others live", refresh, others)
	}
	return refresh == 1
}

// TestPairFaults fails each call that each verb makes, in each way.
func TestPairFaults(t *testing.T) {
	for _, verb := range pairVerbs {
		s := newPairScene(t, nil)
		_, err := verb.do(s.ctx, s)
		wantIs(t, verb.name, err, verb.want)
		for n := 1; n <= len(s.store.Calls()); n++ {
			for _, fault := range []struct {
				mode storagetest.Mode
				err  error
				want error
			}{
				{storagetest.FailBefore, storage.ErrUnavailable, lapse.ErrUnavailable},
				{storagetest.FailBefore, errDisk, errDisk},
				{storagetest.FailBefore, storage.ErrCorrupt, lapse.ErrCorrupt},
				{storagetest.FailAfter, storage.ErrOutcomeUnknown, lapse.ErrOutcomeUnknown},
				{storagetest.Hang, nil, context.DeadlineExceeded},
			} {
				t.Run(fmt.Sprintf("%s/call %d/%v %v", verb.name, n, fault.mode, fault.err), func(t *testing.T) {
					s := newPairScene(t, nil)
					before := s.contents()
					s.store.Reset()
					s.store.Inject(n, fault.mode, fault.err)
					gave, err := verb.do(lateAt(s.ctx, s.store, n, fault.mode), s)
					s.wantFault(t, gave, err, fault.want)
					if fault.mode != storagetest.FailAfter {
						wantDiff(t, "contents", before, s.contents())
					}
					s.wantRetry(t, verb.name)
				})
			}
		}
	}
}

// wantFault: the verb failed for the store's reason, and no verdict, credentials or
// event came of it.
func (s *pairScene) wantFault(t *testing.T, gave lapse.Credentials, err, want error) {
	t.Helper()
	if !s.store.Fired() {
		t.Fatal("the fault did not happen")
	}
	wantIs(t, "error", err, want)
	if errors.Is(err, lapse.ErrUnauthenticated) {
		t.Errorf("a fault of the store reads as a bad token: %v", err)
	}
	if gave.Access.Bearer != "" || gave.Refresh.Bearer != "" || len(s.events) != 0 {
		t.Errorf("it failed and yet gave %+v and told of %+v", gave, s.events)
	}
}

// wantRetry: nothing is half done, and the same call again comes to what it would
// have without the fault.
func (s *pairScene) wantRetry(t *testing.T, verb string) {
	t.Helper()
	alive := s.wantWhole(t)
	for _, v := range pairVerbs {
		if v.name != verb {
			continue
		}
		c, err := v.do(s.ctx, s)
		wantIs(t, "again", err, v.want)
		if again := s.wantWhole(t); again && (!alive || v.want != nil || verb == "Expire") {
			t.Error("the family lives")
		}
		if c.Access.Bearer != "" {
			s.wantAccess("again", c, nil)
			s.wantAccess("and again", s.next(c), nil)
		}
	}
}

// TestPairTxFaults fails each call that each verb makes inside its transaction.
func TestPairTxFaults(t *testing.T) {
	for _, verb := range pairVerbs {
		n := 1
		for ; ; n++ {
			faults := &txFaults{left: -1}
			s := newPairScene(t, func(store storage.Store) storage.Store {
				faults.Store = store
				return faults
			})
			before := s.contents()
			faults.left = n
			gave, err := verb.do(s.ctx, s)
			if faults.left > 0 {
				break
			}
			wantIs(t, verb.name, err, errDisk)
			wantIs(t, verb.name, err, lapse.ErrUnavailable)
			if gave.Access.Bearer != "" || len(s.events) != 0 {
				t.Errorf("%s, call %d: it failed and yet gave %+v and told of %+v", verb.name, n, gave, s.events)
			}
			wantDiff(t, fmt.Sprintf("%s, call %d: contents", verb.name, n), before, s.contents())
		}
		if n < 3 {
			t.Errorf("%s: only %d calls failed", verb.name, n-1)
		}
	}
}

// TestPairRunsAgain: nothing of a run that was undone is left, whatever happens before
// the next one.
func TestPairRunsAgain(t *testing.T) {
	for _, row := range []struct {
		verb    int
		between func(s *pairScene)
		want    error
		again   bool // credentials that another call made
		alive   bool
	}{
		{0, nil, nil, false, true}, // it evicts the other family
		{1, nil, nil, false, true},
		{1, func(s *pairScene) { s.next(s.tip) }, nil, true, true},
		{1, func(s *pairScene) { s.Expire(s.ctx, s.tip.Access.Bearer) }, lapse.ErrExpired, false, false},
		{1, func(s *pairScene) { s.next(s.next(s.tip)) }, lapse.ErrReused, false, false},
		{1, func(s *pairScene) { s.wantRefresh("thief", s.stale, lapse.ErrReused) }, lapse.ErrExpired, false, false},
		{2, nil, nil, true, true},
		{2, func(s *pairScene) { s.next(s.tip) }, lapse.ErrReused, false, false},
		{2, func(s *pairScene) { s.clock.add(time.Minute) }, lapse.ErrReused, false, false},
		{2, func(s *pairScene) { s.Expire(s.ctx, s.tip.Access.Bearer) }, lapse.ErrExpired, false, false},
		{3, nil, lapse.ErrReused, false, false},
		{3, func(s *pairScene) { s.clock.add(-time.Minute) }, lapse.ErrReused, false, false},
		{3, func(s *pairScene) { s.Expire(s.ctx, s.tip.Access.Bearer) }, lapse.ErrReused, false, false},
		{4, nil, nil, false, false},
		{4, func(s *pairScene) { s.next(s.tip) }, nil, false, false},
	} {
		s := newPairScene(t, nil)
		plain, verb := s.Pairs, pairVerbs[row.verb]
		once, err := lapse.NewPairs(&twice{s.store, s.clock, 0, func() {
			if row.between != nil {
				meanwhile := *s
				meanwhile.pairs = &pairs{Pairs: plain, fixture: s.fixture}
				row.between(&meanwhile)
			}
			s.events = nil
		}}, lapse.PairConfig{
			Access:  lapse.Config{Clock: s.clock, Observe: func(e lapse.Event) { s.events = append(s.events, e) }},
			Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: lapse.LimitEndIdlest}},
		})
		wantIs(t, "NewPairs", err, nil)
		s.Pairs = once
		c, err := verb.do(s.ctx, s)
		s.Pairs = plain
		wantIs(t, verb.name, err, row.want)
		if alive := s.wantWhole(t); alive != row.alive || c.Repeated != row.again {
			t.Errorf("%s: the family lives: %v, repeated: %v; want %v and %v", verb.name, alive, c.Repeated, row.alive, row.again)
		}
		told := map[lapse.ID]int{}
		for _, e := range s.events {
			if told[e.Token.ID]++; told[e.Token.ID] > 1 && e.Kind != lapse.EventRejected {
				t.Errorf("%s: told twice: %+v", verb.name, e)
			}
		}
		if c.Access.Bearer != "" {
			s.wantAccess(verb.name, c, nil)
			s.next(c)
		}
	}
}

// TestUnknownOutcomeOfTheEnd: as long as it cannot be told whether the family has been
// ended, nobody hears that it has been.
func TestUnknownOutcomeOfTheEnd(t *testing.T) {
	s := newPairScene(t, nil)
	s.store.InjectOp(storagetest.OpUpdate, 1, storagetest.FailAfter, storage.ErrOutcomeUnknown)
	_, err := s.Refresh(s.ctx, s.stale.Refresh.Bearer)
	wantIs(t, "outcome unknown", err, lapse.ErrOutcomeUnknown)
	if errors.Is(err, lapse.ErrReused) || errors.Is(err, lapse.ErrUnauthenticated) {
		t.Errorf("%v is a verdict", err)
	}
	s.wantRefresh("again", s.stale, lapse.ErrReused)
	s.wantDead(s.stale, s.old, s.tip)
}
