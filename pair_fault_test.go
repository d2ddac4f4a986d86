package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// pairScene is a store with two sessions, on which one verb is tried.
type pairScene struct {
	*pairs
	stale, old, tip lapse.TokenPair // of one session; tip has not been refreshed
	child           lapse.Issued    // a delegate of tip
}

var pairSceneLimit = lapse.Config{Policy: lapse.Policy{MaxTokens: 2}}

// newPairScene makes one on what wrap returns for its store; nil is the store itself.
func newPairScene(t *testing.T, wrap func(storage.Store) storage.Store) *pairScene {
	t.Helper()
	var store storage.Store = storagetest.NewFaulty(memory.New())
	if wrap != nil {
		store = wrap(store)
	}
	s := &pairScene{pairs: newPairs(t, store, lapse.PairConfig{Refresh: pairSceneLimit})}
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

// pairVerb is something that Pairs does to a store. ends says that the session is dead
// afterwards.
type pairVerb struct {
	name string
	want error // without a fault
	ends bool
	do   func(ctx context.Context, s *pairScene) (gave lapse.TokenPair, err error)
}

// refreshing refreshes with the text that of returns.
func refreshing(of func(s *pairScene) lapse.TokenPair) func(context.Context, *pairScene) (lapse.TokenPair, error) {
	return func(ctx context.Context, s *pairScene) (lapse.TokenPair, error) {
		return s.Refresh(ctx, of(s).Refresh.Bearer)
	}
}

// loggingOut logs out with the text that of returns.
func loggingOut(of func(s *pairScene) string) func(context.Context, *pairScene) (lapse.TokenPair, error) {
	return func(ctx context.Context, s *pairScene) (lapse.TokenPair, error) {
		return lapse.TokenPair{}, loggedOut(s.ExpireBearer(ctx, of(s)))
	}
}

// peeking gives nothing but the session that Peek returns.
func peeking(of func(s *pairScene) lapse.TokenPair) func(context.Context, *pairScene) (lapse.TokenPair, error) {
	return func(ctx context.Context, s *pairScene) (c lapse.TokenPair, err error) {
		c.Refresh.Token, err = s.Pairs.Peek(ctx, of(s).Refresh.Bearer)
		return c, err
	}
}

func staleOf(s *pairScene) lapse.TokenPair { return s.stale }
func oldOf(s *pairScene) lapse.TokenPair   { return s.old }
func tipOf(s *pairScene) lapse.TokenPair   { return s.tip }

// pairVerbs are all that Pairs does to a store, with each text that makes a difference.
var pairVerbs = []pairVerb{
	{"Issue", nil, false, func(ctx context.Context, s *pairScene) (lapse.TokenPair, error) { // which evicts the other session
		return s.Pairs.Issue(ctx, lapse.Grant{Subject: "ana"})
	}},
	{"Refresh", nil, false, refreshing(tipOf)},
	{"Refresh again", nil, false, refreshing(oldOf)},
	{"Refresh of a spent text", lapse.ErrReused, true, refreshing(staleOf)},
	{"ExpireBearer by the access text", nil, true, loggingOut(func(s *pairScene) string { return s.tip.Access.Bearer })},
	{"ExpireBearer by a spent access text", nil, true, loggingOut(func(s *pairScene) string { return s.stale.Access.Bearer })},
	{"ExpireBearer by the refresh text", nil, true, loggingOut(func(s *pairScene) string { return s.tip.Refresh.Bearer })},
	{"ExpireBearer by a spent refresh text", nil, true, loggingOut(func(s *pairScene) string { return s.stale.Refresh.Bearer })},
	{"Peek", nil, false, peeking(tipOf)},
	{"Peek of the previous text", nil, false, peeking(oldOf)},
	{"Peek of a spent text", lapse.ErrReplaced, false, peeking(staleOf)},
	{"Sessions", nil, false, func(ctx context.Context, s *pairScene) (c lapse.TokenPair, err error) {
		n := 0
		for _, err := range s.Sessions(ctx, "ana") {
			if err != nil {
				return c, err
			}
			n++
		}
		if n == 0 {
			s.t.Error("no session is listed")
		}
		return c, nil
	}},
}

// pairVerbOf returns the verb of that name.
func pairVerbOf(t *testing.T, name string) pairVerb {
	t.Helper()
	for _, v := range pairVerbs {
		if v.name == name {
			return v
		}
	}
	t.Fatalf("there is no verb %q", name)
	return pairVerb{}
}

// wantWhole: the session of stale lives with its delegate or not at all, is one record,
// has one current refresh text among those given, and at most one previous one.
func (s *pairScene) wantWhole(t *testing.T, given ...lapse.TokenPair) (alive bool) {
	t.Helper()
	sessions, delegates := 0, 0
	var rec storage.Record
	for _, r := range s.contents() {
		switch {
		case r.ID == s.stale.Refresh.ID:
			sessions++
			rec = r
		case r.Parent == s.stale.Refresh.ID && r.Live(s.clock.Now()):
			delegates++
		}
	}
	alive = rec.Live(s.clock.Now())
	if sessions != 1 || alive && s.clock.Now().Before(s.child.ExpiresAt) != (delegates == 1) || !alive && delegates != 0 {
		t.Errorf("%d records of the session, which is alive: %v, and %d live delegates", sessions, alive, delegates)
	}
	current, previous := map[string]bool{}, map[string]bool{}
	for _, c := range append([]lapse.TokenPair{s.stale, s.old, s.tip}, given...) {
		switch tok, err := s.Pairs.Peek(s.ctx, c.Refresh.Bearer); {
		case err != nil || c.Refresh.ID != rec.ID:
		case c.Refresh.Generation == tok.Generation:
			current[c.Refresh.Bearer] = true
		default:
			previous[c.Refresh.Bearer] = true
		}
	}
	if len(current) > 1 || len(previous) > 1 || !alive && len(current)+len(previous) > 0 {
		t.Errorf("alive %v, and %d current and %d previous texts", alive, len(current), len(previous))
	}
	return alive
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
					s.wantRetry(t, verb)
				})
			}
		}
	}
}

// wantFault: the verb failed for the store's reason, and no verdict, credentials or
// event came of it.
func (s *pairScene) wantFault(t *testing.T, gave lapse.TokenPair, err, want error) {
	t.Helper()
	if !s.store.Fired() {
		t.Fatal("the fault did not happen")
	}
	wantIs(t, "error", err, want)
	if errors.Is(err, lapse.ErrUnauthenticated) {
		t.Errorf("a fault of the store reads as a bad text: %v", err)
	}
	if gave.Access.Bearer != "" || gave.Refresh.Bearer != "" || gave.Refresh.Token != (lapse.Token{}) || len(s.events) != 0 {
		t.Errorf("it failed and yet gave %+v and told of %+v", gave, s.events)
	}
}

// wantRetry: nothing is half done, and the same call again comes to what it would have
// come to without the fault.
func (s *pairScene) wantRetry(t *testing.T, verb pairVerb) {
	t.Helper()
	alive := s.wantWhole(t)
	c, err := verb.do(s.ctx, s)
	wantIs(t, "again", err, verb.want)
	again := s.wantWhole(t, c)
	if verb.name != "Issue" && again == verb.ends || again && !alive { // two log-ins evict two sessions
		t.Errorf("the session is alive: %v", again)
	}
	if c.Access.Bearer != "" {
		s.wantAccess("again", c, nil)
		s.wantAccess("and refreshed", s.next(c), nil)
	}
}

// TestPairPanics: a panic of any call passes through, leaves everything as it was, and
// what comes after it works.
func TestPairPanics(t *testing.T) {
	for _, verb := range pairVerbs {
		s := newPairScene(t, nil)
		verb.do(s.ctx, s)
		for n := 1; n <= len(s.store.Calls()); n++ {
			s := newPairScene(t, nil)
			before := s.contents()
			s.store.Reset()
			s.store.Inject(n, storagetest.Panic, nil)
			if !panics(func() { verb.do(s.ctx, s) }) {
				t.Errorf("%s, call %d: the store's panic was swallowed", verb.name, n)
			}
			wantDiff(t, fmt.Sprint(verb.name, ", call ", n, ": contents"), before, s.contents())
			s.wantRetry(t, verb)
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
			if faults.done() {
				break
			}
			wantIs(t, verb.name, err, errDisk)
			wantIs(t, verb.name, err, lapse.ErrUnavailable)
			if gave.Access.Bearer != "" || len(s.events) != 0 {
				t.Errorf("%s, call %d: it failed and yet gave %+v and told of %+v", verb.name, n, gave, s.events)
			}
			wantDiff(t, fmt.Sprintf("%s, call %d: contents", verb.name, n), before, s.contents())
			s.wantRetry(t, verb)
		}
		if reads := strings.HasPrefix(verb.name, "Peek") || verb.name == "Sessions" || verb.name == "Refresh again"; n < 3 && !reads {
			t.Errorf("%s: only %d calls failed", verb.name, n-1)
		}
	}
}

// TestPairRunsAgain: nothing of a run that was undone is left, whatever happens before
// the next one.
func TestPairRunsAgain(t *testing.T) {
	next := func(s *pairScene) { s.next(s.tip) }
	twoNext := func(s *pairScene) { s.next(s.next(s.tip)) }
	out := func(s *pairScene) { loggedOut(s.ExpireBearer(s.ctx, s.tip.Access.Bearer)) }
	theft := func(s *pairScene) { s.wantRefresh("a thief", s.stale, lapse.ErrReused) }
	for _, row := range []struct {
		verb    string
		between func(s *pairScene)
		want    error
		again   bool // credentials that another call made
		alive   bool
	}{
		{"Issue", nil, nil, false, true},
		{"Refresh", nil, nil, false, true},
		{"Refresh", next, nil, true, true},
		{"Refresh", out, lapse.ErrRevoked, false, false},
		{"Refresh", twoNext, lapse.ErrReused, false, false},
		{"Refresh", theft, lapse.ErrRevoked, false, false},
		{"Refresh again", nil, nil, true, true},
		{"Refresh again", next, lapse.ErrReused, false, false},
		{"Refresh again", func(s *pairScene) { s.clock.add(time.Minute) }, lapse.ErrReused, false, false},
		{"Refresh again", out, lapse.ErrRevoked, false, false},
		{"Refresh of a spent text", nil, lapse.ErrReused, false, false},
		{"Refresh of a spent text", func(s *pairScene) { s.clock.add(-time.Minute) }, lapse.ErrReused, false, false},
		{"Refresh of a spent text", out, lapse.ErrReused, false, false},
		{"ExpireBearer by the access text", nil, nil, false, false},
		{"ExpireBearer by the access text", next, nil, false, false},
		{"ExpireBearer by the access text", twoNext, nil, false, false},
		{"ExpireBearer by the refresh text", twoNext, nil, false, false},
		{"ExpireBearer by a spent refresh text", nil, nil, false, false},
		{"ExpireBearer by a spent refresh text", theft, nil, false, false},
	} {
		s := newPairScene(t, nil)
		plain, verb := s.Pairs, pairVerbOf(t, row.verb)
		once, err := lapse.NewPairs(&twice{s.store, s.clock, 0, func() {
			if row.between != nil {
				meanwhile := *s
				meanwhile.pairs = &pairs{Pairs: plain, fixture: s.fixture}
				row.between(&meanwhile)
			}
			s.events = nil
		}}, lapse.PairConfig{
			Access:  lapse.Config{Clock: s.clock, Observe: func(_ context.Context, e lapse.Event) { s.events = append(s.events, e) }},
			Refresh: pairSceneLimit,
		})
		wantIs(t, "NewPairs", err, nil)
		s.Pairs = once
		c, err := verb.do(s.ctx, s)
		s.Pairs = plain
		events := s.events
		wantIs(t, verb.name, err, row.want)
		if alive := s.wantWhole(t, c); alive != row.alive || c.Repeated != row.again {
			t.Errorf("%s: the session lives: %v, repeated: %v; want %v and %v", verb.name, alive, c.Repeated, row.alive, row.again)
		}
		told := map[string]int{}
		for _, e := range events {
			if told[fmt.Sprint(e.Kind, e.Token.ID)]++; told[fmt.Sprint(e.Kind, e.Token.ID)] > 1 {
				t.Errorf("%s: told twice: %+v", verb.name, e)
			}
		}
		if c.Access.Bearer != "" {
			s.wantAccess(verb.name, c, nil)
			s.next(c)
		}
	}
}

// TestUnknownOutcomeOfTheEnd: as long as it cannot be told whether the session has been
// ended, nothing says that it has been.
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
