package lapse

import (
	"context"
	"errors"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// tickFull is a store with the only token, and the only session, that its policies let ana
// have, and what Observe is told of ends.
type tickFull struct {
	clock *tickWall
	store *tickStore
	m     *Manager
	p     *Pairs
	ended map[ID]EndReason
}

func newTickFull(t *testing.T, guard ClockGuard) *tickFull {
	f := &tickFull{clock: newTickWall(), store: &tickStore{Store: memory.New()}, ended: map[ID]EndReason{}}
	cfg := Config{Clock: f.clock, ClockGuard: guard, Policy: Policy{TTL: day, MaxTokens: 1, AtLimit: LimitEndOldest},
		Keys: []Key{NewKey(randomKey(1))}, Observe: func(_ context.Context, e Event) {
			if e.Kind == EventEnded {
				f.ended[e.Token.ID] = e.Token.EndReason
			}
		}}
	f.m = tickMust(New(f.store, cfg))(t)
	f.p = tickMust(NewPairs(f.store, PairConfig{Access: Config{Clock: f.clock, ClockGuard: guard, Prefix: "acc", Observe: cfg.Observe}, Refresh: Config{Prefix: "ref", Policy: Policy{MaxTokens: 1}}}))(t)
	tickMust(f.m.Issue(t.Context(), Grant{Subject: "ana"}))(t)
	tickMust(f.p.Issue(t.Context(), Grant{Subject: "ana"}))(t)
	f.clock.set(-2 * steady.Quiet)
	f.clock.pass(1)
	return f
}

// tickIssues are the verbs that evict what was there.
var tickIssues = map[string]func(ctx context.Context, f *tickFull) (ID, error){
	"Issue": func(ctx context.Context, f *tickFull) (ID, error) {
		i, err := f.m.Issue(ctx, Grant{Subject: "ana"})
		return i.ID, err
	},
	"Obtain": func(ctx context.Context, f *tickFull) (ID, error) {
		i, err := f.m.Obtain(ctx, Grant{Subject: "ana"})
		return i.ID, err
	},
	"Pairs.Issue": func(ctx context.Context, f *tickFull) (ID, error) {
		c, err := f.p.Issue(ctx, Grant{Subject: "ana"})
		return c.Access.ID, err
	},
}

// tellsWhatIsStored: Observe was told of an end exactly where a record says that a verb
// ended it, by the reason that the record has.
func (f *tickFull) tellsWhatIsStored(t *testing.T, name string, k int) {
	t.Helper()
	for rec, err := range f.store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if told := f.ended[rec.ID]; told != rec.EndReason {
			t.Errorf("%s, at operation %d: the record of %v was ended as %q, and told as %q", name, k, rec.ID, rec.EndReason, told)
		}
	}
}

// TestFault6EndsAreToldOnce: with an epoch that begins at each operation, what is told of
// as evicted is what was evicted.
func TestFault6EndsAreToldOnce(t *testing.T) {
	for name, issue := range tickIssues {
		for k, began := 1, true; began; k++ {
			began = false
			f, left := newTickFull(t, GuardDefault), k
			f.store.set(func() {
				if left--; left == 0 {
					began = true
					marks, at := f.store.Marks(), steady.Normalise(f.clock.Now())
					marks.Restart(at, steady.Add(at, steady.Quiet), marks.Epoch())
				}
			})
			_, err := issue(t.Context(), f)
			f.store.set(nil)
			if err != nil {
				t.Errorf("%s, at operation %d: %v", name, k, err)
			}
			f.tellsWhatIsStored(t, name, k)
		}
	}
}

// TestFault6TooManyEpochs: a verb that epochs overtake again and again says that nothing
// came of it, and has told of what it evicted.
func TestFault6TooManyEpochs(t *testing.T) {
	for name, issue := range tickIssues {
		f := newTickFull(t, GuardDefault)
		f.store.set(func() {
			marks, at := f.store.Marks(), steady.Normalise(f.clock.Now())
			marks.Restart(at, steady.Add(at, steady.Quiet), marks.Epoch())
		})
		id, err := issue(t.Context(), f)
		f.store.set(nil)
		if id != (ID{}) || !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %v, %v; want ErrUnavailable", name, id, err)
		}
		f.tellsWhatIsStored(t, name, 0)
	}
}

// TestFault5SettlesMeanwhileUnderGuardStrict: the settle time ends at each operation of a
// verb that issues. The verb fails with ErrClock and has written nothing, or it has
// issued, and says so.
func TestFault5SettlesMeanwhileUnderGuardStrict(t *testing.T) {
	for name, issue := range tickIssues {
		for k, settled := 1, true; settled; k++ {
			settled = false
			f, left := newTickFull(t, GuardStrict), k
			f.m.Peek(t.Context(), "lapse_") // no verb that looks at the clock
			f.m.Token(t.Context(), ID{1})
			f.store.set(func() {
				if left--; left == 0 {
					settled = true
					f.clock.pass(defaultSettle + 1)
				}
			})
			id, err := issue(t.Context(), f)
			f.store.set(nil)
			live := map[ID]bool{}
			for rec, err := range f.store.List(t.Context(), storage.Filter{}) {
				if err != nil {
					t.Fatal(err)
				}
				if rec.EndedAt.IsZero() {
					live[rec.ID] = true
				}
			}
			if (err == nil) != live[id] || len(live) != 2 || err != nil && !errors.Is(err, ErrClock) && !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s, at operation %d: %v, %v, and %d live records", name, k, id, err, len(live))
			}
			f.tellsWhatIsStored(t, name, k)
		}
	}
}
