package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// deadExperiments are about a subject with very many records, most of them dead.
func deadExperiments(p plan) []experiment {
	return []experiment{
		deadIssueContest(p, "memory"), deadIssueContest(p, "bolt"),
		neighbours(p), longestWaits(p),
	}
}

// atLimit is how many live tokens a subject may have in rows where each issue ends one.
const atLimit = 10

// deadIssueContest issues to a subject with very many dead records, and to a subject that has
// only the dead records of the turn: with room for all, and where each issue ends the oldest.
func deadIssueContest(p plan, store string) experiment {
	id := "issue-dead/" + count(p.dead)
	of := func(suffix string) row {
		return row{id: id + "/" + store + suffix + "/none", lapse: store + suffix, peer: store + suffix + "-none", of: perOp, must: atMost(1.2), allocs: noLimit}
	}
	c := &contest{
		group: group{ID: id + "/" + store, Kind: "issue-dead", Tokens: p.dead, Callers: 1,
			Title: fmt.Sprintf("Issue to a subject with %s dead records, %s", grouped(p.dead), store)},
		pairs: []row{of(""), of("-full")},
		side:  func(w *world, name string) (*side, error) { return w.deadIssuer(store, name) },
	}
	c.pace(p, false)
	if store == "bolt" {
		c.rounds, c.turn, c.timed = p.durableRounds, p.durableTurn, true
	}
	return c
}

// graveyard is a store in which one subject has very many dead records: half were ended,
// half ran out.
type graveyard struct {
	store      storage.Store
	clock      *shiftClock
	roomy, few *lapse.Manager // a subject has room for all; only for atLimit
}

const crowded = "a subject with very many records"

// graveyard returns the store of that kind.
func (w *world) graveyard(kind string) (*graveyard, error) {
	return once(w, "dead records, "+kind, func() (*graveyard, error) {
		store, err := w.open(kind)
		if err != nil {
			return nil, err
		}
		g := &graveyard{store: store, clock: new(shiftClock)}
		if g.roomy, err = g.manager(1_000_000, lapse.LimitRefuse); err != nil {
			return nil, err
		}
		if g.few, err = g.manager(atLimit, lapse.LimitEndOldest); err != nil {
			return nil, err
		}
		half := w.plan.dead / 2
		if err := issueMany(w, g.roomy, half, lapse.Grant{Subject: crowded, Scope: scope}); err != nil {
			return nil, err
		}
		if _, err := g.roomy.ExpireSubject(w.ctx, crowded); err != nil {
			return nil, err
		}
		if err := issueMany(w, g.roomy, half, lapse.Grant{Subject: crowded, Scope: scope, TTL: lotLife}); err != nil {
			return nil, err
		}
		g.clock.set(lotLife + time.Hour)
		return g, nil
	})
}

// open returns an empty store of that kind, which is closed at release.
func (w *world) open(kind string) (storage.Store, error) {
	if kind == "memory" {
		store := memory.New()
		w.atRelease(store.Close)
		return store, nil
	}
	store, err := bolt.Open(w.file("dead.db"), nil)
	if err == nil {
		w.atRelease(store.Close)
	}
	return store, err
}

func (g *graveyard) manager(most int, at lapse.AtLimit) (*lapse.Manager, error) {
	return lapse.New(g.store, lapse.Config{
		Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit, MaxTokens: most, AtLimit: at},
		Clock:  g.clock,
	})
}

func issueMany(w *world, m *lapse.Manager, n int, g lapse.Grant) error {
	return together(w.plan.builders, n, func(int) error {
		_, err := m.Issue(w.ctx, g)
		return err
	})
}

// deadIssuer returns the side of that name. Before each turn the crowded subject has no
// live token, and the others have a subject that is new.
func (w *world) deadIssuer(store, name string) (*side, error) {
	g, err := w.graveyard(store)
	if err != nil {
		return nil, err
	}
	m := g.roomy
	if name == store+"-full" || name == store+"-full-none" {
		m = g.few
	}
	who := crowded
	s := &side{op: func(i int) error {
		_, err := m.Issue(w.ctx, grantTo(who))
		return err
	}}
	s.prepare = func(from, _ int) error {
		if name == store || name == store+"-full" {
			_, err := m.ExpireSubject(w.ctx, who)
			return err
		}
		who = fmt.Sprintf("a subject with no records%8d", from)
		_, err := m.Issue(w.ctx, grantTo(who)) // the first makes what is kept of a subject
		return err
	}
	return s, nil
}

const (
	unrelated = 16 // issuers whose rate is measured
	busy      = 4  // callers who issue to one subject meanwhile
)

// neighbours measures the rate of issuers who have nothing to do with a subject, to which
// others issue at the same time.
func neighbours(p plan) experiment {
	id := "neighbours/" + count(p.dead)
	of := func(store string) row {
		return row{id: id + "/" + store + "/none", lapse: store, peer: store + "-none", of: rate, faster: true, must: atLeast(0.8), allocs: uncounted}
	}
	return &measurement{
		group: group{ID: id, Kind: "neighbours", Tokens: p.dead, Callers: unrelated,
			Title: fmt.Sprintf("Rate of %d issuers beside %d who issue to a subject with %s dead records, each of which ends the oldest token",
				unrelated, busy, grouped(p.dead))},
		lines: []row{of("memory"), of("bolt")},
		measure: func(ctx context.Context, w *world, rows []row) ([]result, error) {
			var all []result
			for _, r := range rows {
				res, err := w.neighbours(ctx, r)
				if err != nil {
					return nil, err
				}
				all = append(all, res)
			}
			return all, nil
		},
	}
}

func (w *world) neighbours(ctx context.Context, r row) (result, error) {
	g, err := w.graveyard(r.lapse)
	if err != nil {
		return result{}, err
	}
	sides := []*side{{name: r.lapse}, {name: r.peer}}
	for _, s := range sides {
		s.op = issue(g.roomy, w.subjects().at)
	}
	play := func(s *side, from, ops int) (turn, error) {
		stop := g.occupy(w.ctx, s.name == r.lapse)
		t, err := manyCallers(unrelated)(s, from, ops)
		if e := stop(); err == nil {
			err = e
		}
		return t, err
	}
	for _, s := range sides {
		if err := s.calibrate(play, w.plan.durableTurn, unrelated); err != nil {
			return result{}, err
		}
	}
	turns, err := alternate(ctx, sides, w.plan.durableRounds, shuffled(), func() {}, play)
	if err != nil {
		return result{}, err
	}
	res := r.compare(rate.unit(), rate.each(turns[0]), rate.each(turns[1]))
	res.Note = fmt.Sprintf("p99 %s, beside none %s", humane(float64(spreadOf(p99.each(turns[0])).Median), "ns"), humane(float64(spreadOf(p99.each(turns[1])).Median), "ns"))
	return r.judge(res), nil
}

// occupy issues by several callers at once, until the function that it returns is called. It
// issues to the crowded subject, or to a sequence of subjects with a few issues each.
func (g *graveyard) occupy(ctx context.Context, dead bool) (stop func() error) {
	const some = 1_000
	var over atomic.Bool
	var done sync.WaitGroup
	errs := make([]error, busy)
	for c := range busy {
		done.Go(func() {
			who := crowded
			for i := 0; !over.Load() && errs[c] == nil; i++ {
				if !dead && i%some == 0 {
					who = fmt.Sprintf("a subject of caller %d at %d", c, time.Now().UnixNano())
				}
				_, errs[c] = g.few.Issue(ctx, grantTo(who))
			}
		})
	}
	return func() error {
		over.Store(true)
		done.Wait()
		for _, err := range errs {
			if err != nil {
				return err
			}
		}
		return nil
	}
}

// longestWaits ends all of a subject's very many tokens at once, while another caller issues to
// other subjects.
func longestWaits(p plan) experiment {
	id := "wait/" + count(p.dead)
	of := func(store string) row {
		return row{id: id + "/" + store, lapse: store, must: itselfAtMost(500e6, "ns"), allocs: uncounted}
	}
	return &measurement{
		group: group{ID: id, Kind: "wait", Tokens: p.dead, Callers: 1,
			Title: fmt.Sprintf("Longest wait of an issuer while %s tokens of another subject are ended", grouped(p.dead))},
		lines: []row{of("memory"), of("bolt")},
		measure: func(_ context.Context, w *world, rows []row) ([]result, error) {
			var all []result
			for _, r := range rows {
				var waits, ends []float64
				for range w.plan.costlyRounds {
					wait, end, err := w.endCrowd(r.lapse)
					if err != nil {
						return nil, err
					}
					waits, ends = append(waits, wait), append(ends, end)
				}
				res := r.compare("ns", waits, nil)
				res.Note = "all were ended in " + humane(float64(spreadOf(ends).Median), "ns")
				all = append(all, r.judge(res))
			}
			return all, nil
		},
	}
}

// endCrowd returns the longest time that an Issue took while ExpireSubject ran, and what
// that took.
func (w *world) endCrowd(kind string) (wait, took float64, err error) {
	g, err := w.graveyard(kind)
	if err != nil {
		return 0, 0, err
	}
	if err := issueMany(w, g.roomy, w.plan.dead, grantTo(crowded)); err != nil {
		return 0, 0, err
	}
	h := new(histogram)
	s := &side{op: issue(g.roomy, w.subjects().at)}
	var over atomic.Bool
	begun, failed := make(chan struct{}), make(chan error, 1)
	go func() {
		close(begun)
		var err error
		for i := 0; err == nil && !over.Load(); i++ {
			err = timed(s, i, 1, h)
		}
		failed <- err
	}()
	<-begun
	begin := time.Now()
	ended, err := g.roomy.ExpireSubject(w.ctx, crowded)
	took = float64(time.Since(begin))
	over.Store(true)
	if e := <-failed; err == nil {
		err = e
	}
	if err == nil && ended < w.plan.dead {
		err = fmt.Errorf("%d of %d tokens ended", ended, w.plan.dead)
	}
	return float64(h.max.Load()), took, err
}
