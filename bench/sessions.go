package main

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// newPairs returns Pairs over store whose sessions and access texts live long. Checks
// record no use.
func newPairs(store storage.Store, grace time.Duration, clock lapse.Clock) (*lapse.Pairs, error) {
	return lapse.NewPairs(store, lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit, RenewEvery: never}, Clock: clock},
		Refresh: lapse.Config{Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit}},
		Grace:   grace,
	})
}

// sessions are Pairs with sessions of a subject each, and the refresh texts of those.
type sessions struct {
	pairs *lapse.Pairs
	texts []string
	made  int // the number of all sessions, including those whose texts were dropped
}

// logIn adds n sessions.
func (s *sessions) logIn(n int) error {
	ctx := context.Background()
	for range n {
		c, err := s.pairs.Issue(ctx, grantTo(subject(s.made)))
		if err != nil {
			return err
		}
		s.made++
		s.texts = append(s.texts, c.Refresh.Bearer)
	}
	return nil
}

// refresh refreshes one of the sessions after another.
func (s *sessions) refresh(i int) error {
	i %= len(s.texts)
	c, err := s.pairs.Refresh(context.Background(), s.texts[i])
	s.texts[i] = c.Refresh.Bearer
	return err
}

// refreshAll refreshes the first n of the sessions that many times each.
func (s *sessions) refreshAll(n, times int) error {
	some := sessions{pairs: s.pairs, texts: s.texts[:n]}
	for i := range n * times {
		if err := some.refresh(i); err != nil {
			return err
		}
	}
	return nil
}

// sessionsIn returns n sessions in store, which is closed at release.
func (w *world) sessionsIn(store storage.Store, n int) (*sessions, error) {
	w.atRelease(store.Close)
	pairs, err := newPairs(store, 0, nil)
	if err != nil {
		return nil, err
	}
	s := &sessions{pairs: pairs}
	return s, s.logIn(n)
}

// refreshExperiments refresh sessions.
func refreshExperiments(p plan, size int) []experiment {
	often := "refresh/" + count(p.refreshes)
	about := func(id, title string) group {
		return group{ID: id, Kind: "refresh", Tokens: size, Callers: 1, Title: title}
	}
	line := func(id, lapse, peer string, of quantity, must bound, allocs int) row {
		return row{id: id, lapse: lapse, peer: peer, of: of, must: must, allocs: allocs}
	}
	return []experiment{
		&contest{
			group: about(often, fmt.Sprintf("Refresh a session in memory that was refreshed %s times", grouped(p.refreshes))),
			pairs: []row{
				line(often+"/memory/first", "memory", "first", perOp, atMost(1.1), noLimit),
				line(often+"/memory/issue", "memory", "issue", perOp, atMost(3), noLimit),
			},
			rounds: p.rounds, turn: p.turn,
			side: func(w *world, name string) (*side, error) { return w.refresher(name, size) },
		},
		&measurement{
			group: about(often+"/memory", fmt.Sprintf("What is left of a session after %s refreshes", grouped(p.refreshes))),
			lines: []row{
				line(often+"/memory/records", "memory", "", perOp, itselfExactly(1, "records"), uncounted),
				line("memory/refreshed/memory", "memory", "", perOp, itselfAtMost(500, "B"), uncounted),
			},
			measure: weighSessions,
		},
		&contest{
			group:  about("refresh-bolt/1", "Refresh a session on bolt, durably"),
			pairs:  []row{line("refresh-bolt/1/bolt/issue/p50", "bolt", "issue", p50, atMost(3), uncounted)},
			rounds: p.durableRounds, turn: p.durableTurn, timed: true,
			side: func(w *world, name string) (*side, error) { return w.durableRefresher(name, size) },
		},
		refreshWrites(about("refresh/bolt", "Durable commits by Refresh")),
	}
}

// refresher returns the side of that name, in memory.
func (w *world) refresher(name string, size int) (*side, error) {
	switch name {
	case "memory":
		s, err := w.sessionsIn(memory.New(), w.plan.refreshed)
		if err != nil {
			return nil, err
		}
		return &side{op: s.refresh}, s.refreshAll(w.plan.refreshed, w.plan.refreshes)
	case "first":
		s, err := w.sessionsIn(memory.New(), 1)
		return &side{
			prepare: func(_, n int) error { s.texts = s.texts[:0]; return s.logIn(n) },
			op:      s.refresh, // of n sessions, once each
		}, err
	}
	return w.issuer("memory", size)
}

// durableRefresher returns the side of that name, on bolt.
func (w *world) durableRefresher(name string, size int) (*side, error) {
	k, err := w.bolt(size)
	if err != nil {
		return nil, err
	}
	if name == "issue" {
		return &side{op: issue(k.tokens, w.subjects().at)}, nil
	}
	s, err := w.boltSessions(size)
	return &side{op: s.refresh}, err
}

// boltSessions returns sessions in the store on bolt that has size tokens besides.
func (w *world) boltSessions(size int) (*sessions, error) {
	k, err := w.bolt(size)
	if err != nil {
		return nil, err
	}
	return once(w, "sessions on bolt", func() (*sessions, error) {
		pairs, err := newPairs(k.store, 0, nil)
		if err != nil {
			return nil, err
		}
		s := &sessions{pairs: pairs}
		return s, s.logIn(w.plan.refreshed)
	})
}

// refreshWrites counts the durable commits of one Refresh.
func refreshWrites(g group) experiment {
	r := row{id: "refresh/bolt/commits", lapse: "bolt", must: itselfExactly(1, "tx"), allocs: uncounted}
	return &measurement{
		group: g,
		lines: []row{r},
		measure: func(_ context.Context, w *world, _ []row) ([]result, error) {
			s, err := w.boltSessions(g.Tokens)
			if err != nil {
				return nil, err
			}
			k, err := w.bolt(g.Tokens)
			if err != nil {
				return nil, err
			}
			const each = 3
			n, err := commits(k, func() error { return s.refreshAll(w.plan.refreshed, each) })
			by := float64(n) / float64(each*w.plan.refreshed)
			return []result{r.judge(r.compare("tx", []float64{by}, nil))}, err
		},
	}
}

// weighSessions counts the records of sessions that were refreshed often, and weighs the
// sessions: the bytes of each of many sessions that were refreshed once, and the bytes that
// many more refreshes of some sessions have added to each.
func weighSessions(ctx context.Context, w *world, rows []row) ([]result, error) {
	w.say("weighing sessions")
	many, some := w.plan.medium()/10, w.plan.refreshed
	begin := inUse()
	store := memory.New()
	s, err := w.sessionsIn(store, many)
	if err != nil {
		return nil, err
	}
	if err := s.refreshAll(many, 1); err != nil {
		return nil, err
	}
	s.texts = slices.Clone(s.texts[:some])
	bytes := inUse().since(begin) / float64(many)
	first, err := w.leastInUse(s)
	if err != nil {
		return nil, err
	}
	second, err := w.leastInUse(s)
	if err != nil {
		return nil, err
	}
	bytes += 2 * float64(max(0, second-first)) / float64(some) // half of the refreshes lie between the two
	records := 0
	for _, err := range store.List(ctx, storage.Filter{}) {
		if err != nil {
			return nil, err
		}
		records++
	}
	figures := map[string]float64{"records": float64(records) / float64(many), "B": bytes}
	var all []result
	for _, r := range rows {
		all = append(all, r.judge(r.compare(r.must.unit, []float64{figures[r.must.unit]}, nil)))
	}
	return all, nil
}

// leastInUse refreshes each session of s half as often as the plan says, and returns the
// least that was in use of the heap at several times meanwhile: what a store has set
// aside for the next texts comes and goes.
func (w *world) leastInUse(s *sessions) (least int64, err error) {
	const looks = 5
	for i := range looks {
		if err := s.refreshAll(len(s.texts), w.plan.refreshes/2/looks); err != nil {
			return least, err
		}
		if now := inUse().heap; i == 0 || now < least {
			least = now
		}
	}
	return least, nil
}
