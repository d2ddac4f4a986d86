package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// issuers issue at fixed times, 2,000 a second, also while an earlier issue waits.
var issuers = schedule{callers: 16, every: 8 * time.Millisecond}

// sweepIssues watches issuers while a lot is swept that died at once.
func sweepIssues(p plan, size int) experiment {
	id := "sweep-issue/" + count(size)
	return &measurement{
		group: group{ID: id, Kind: "sweep-issue", Tokens: size, Callers: issuers.callers,
			Title: fmt.Sprintf("p99 of an Issue on bolt during a sweep of %s dead tokens beside %s that live, %s",
				grouped(size/10), grouped(size), issuers.String("issuers"))},
		lines: []row{{id: id + "/bolt/idle/p99", lapse: "bolt", peer: "idle", of: p99, must: atMost(3), allocs: uncounted}},
		measure: func(ctx context.Context, w *world, rows []row) ([]result, error) {
			return w.watchIssues(ctx, size, rows[0])
		},
	}
}

func (w *world) watchIssues(ctx context.Context, size int, r row) (_ []result, err error) {
	s, err := w.shelf(size)
	if err != nil {
		return nil, err
	}
	path, err := w.copied(s.path)
	if err != nil {
		return nil, err
	}
	store, err := bolt.Open(path, nil)
	if err != nil {
		return nil, err
	}
	w.atRelease(store.Close)
	l, err := newLots(w, store, size/10)
	if err != nil {
		return nil, err
	}
	op := issue(l.tokens, w.subjects().at)
	var idle, busy, worst, took []float64
	for range w.plan.costlyRounds {
		if err := l.issue(ctx); err != nil {
			return nil, err
		}
		half, err := watch(issuers, op, func() error { time.Sleep(w.plan.issueIdle); return ctx.Err() })
		if err != nil {
			return nil, err
		}
		begin := time.Now()
		full, err := watch(issuers, op, func() error { return l.sweep(ctx) })
		if err != nil {
			return nil, err
		}
		idle, busy = append(idle, half.quantile(0.99)), append(busy, full.quantile(0.99))
		worst, took = append(worst, float64(full.max.Load())), append(took, float64(time.Since(begin)))
	}
	res := r.compare("ns", busy, idle)
	res.Note = fmt.Sprintf("worst %s, swept in %s", humane(float64(spreadOf(worst).Median), "ns"), humane(float64(spreadOf(took).Median), "ns"))
	return []result{r.judge(res)}, nil
}

// lots are issued and swept one after the other.
type lots struct {
	w      *world
	tokens *lapse.Manager
	clock  *shiftClock
	ahead  time.Duration
	size   int
}

func newLots(w *world, store *bolt.Store, size int) (*lots, error) {
	l := &lots{w: w, clock: new(shiftClock), size: size}
	var err error
	l.tokens, err = lapse.New(store, lapse.Config{
		Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit, Retention: time.Millisecond}, Clock: l.clock,
	})
	return l, err
}

// issue issues a lot.
func (l *lots) issue(ctx context.Context) error {
	return together(l.w.plan.builders, l.size, func(i int) error {
		_, err := l.tokens.Issue(ctx, lapse.Grant{Subject: subject(i), Scope: scope, TTL: roundTime})
		return err
	})
}

// sweep deletes the lot that was issued last, which is dead from now on.
func (l *lots) sweep(ctx context.Context) error {
	l.ahead += 2 * roundTime
	l.clock.set(l.ahead)
	n, err := l.tokens.Sweep(ctx)
	if err == nil && n != l.size {
		err = fmt.Errorf("%d of %d dead tokens swept", n, l.size)
	}
	return err
}
