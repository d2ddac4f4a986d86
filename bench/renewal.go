package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// renewalContest checks tokens where each use renews, against the same store where
// none is due, with the same clock.
func renewalContest(p plan, size int) experiment {
	id := "renewal/" + count(size)
	of := func(lapse, peer string, faster bool, must bound, allocs int) row {
		return row{id: id + "/" + lapse + "/" + peer, lapse: lapse, peer: peer, of: perOp, faster: faster, must: must, allocs: allocs}
	}
	c := &contest{
		group: group{ID: id, Kind: "renewal", Tokens: size, Callers: 1,
			Title: fmt.Sprintf("Check a token where every use renews it, %s live", grouped(size))},
		pairs: []row{
			of("memory-renewing", "memory", false, atMost(1.3), 0),
			of("bolt-renewing", "bolt", false, atMost(1.3), 0),
			of("memory-renewing", "scs-memory-idle", true, bound{}, noLimit),
			of("bolt-renewing", "scs-bbolt-idle", true, bound{}, noLimit),
		},
		side: func(w *world, name string) (*side, error) { return w.renewer(name, size) },
	}
	c.pace(p, size == p.small())
	return c
}

// renewer returns the side of that name.
func (w *world) renewer(name string, size int) (*side, error) {
	switch name {
	case "scs-memory-idle":
		p, err := w.scsMemory(size)
		return &side{op: p.renew}, err
	case "scs-bbolt-idle":
		p, _, err := w.scsOnBolt(size)
		return &side{op: p.renew}, err
	}
	store, every := name, never
	for _, lapse := range []string{"memory", "bolt"} {
		if name == lapse+"-renewing" {
			store, every = lapse, 0
		}
	}
	k, err := w.kept(store, size)
	if err != nil {
		return nil, err
	}
	m, err := w.ticking(k, every)
	if err != nil {
		return nil, err
	}
	return &side{op: check(m, k.bearers)}, nil
}

// ticking returns a manager over k whose clock ticks, and has made sure that its
// checks renew, if they shall, and do not, if not.
func (w *world) ticking(k *kept, every time.Duration) (*lapse.Manager, error) {
	m, err := manager(k.store, every, w.ticks)
	if err != nil {
		return nil, err
	}
	ctx := context.Background()
	var seen [2]lapse.Token
	for i := range seen {
		if seen[i], err = m.Authenticate(ctx, k.bearers.at(0)); err != nil {
			return nil, err
		}
	}
	if renewed := seen[1].ExpiresAt.After(seen[0].ExpiresAt); renewed != (every == 0) {
		return nil, fmt.Errorf("with RenewEvery %v a use renewed: %v", every, renewed)
	}
	return m, nil
}

// renewalWrites counts the durable commits that renewing checks have caused by
// the time the last of them returns.
func renewalWrites(p plan, size int) experiment {
	id := "renewal/" + count(size)
	r := row{id: id + "/bolt/commits", lapse: "bolt-renewing", must: itselfAtMost(0.01, "tx"), allocs: uncounted}
	return &measurement{
		group: group{ID: id + "/bolt", Kind: "renewal-writes", Tokens: size, Callers: 1,
			Title: "Durable commits by check where every use renews"},
		lines: []row{r},
		measure: func(_ context.Context, w *world, _ []row) ([]result, error) {
			k, err := w.bolt(size)
			if err != nil {
				return nil, err
			}
			m, err := w.ticking(k, 0)
			if err != nil {
				return nil, err
			}
			checks := 10 * w.plan.allocCalls
			renew, begin := check(m, k.bearers), time.Now()
			n, err := commits(k, func() error {
				for i := range checks {
					if err := renew(i); err != nil {
						return err
					}
				}
				return nil
			})
			res := r.compare("tx", []float64{float64(n) / float64(checks)}, nil)
			res.Note = fmt.Sprintf("%d in %d checks, which took %s", n, checks, humane(float64(time.Since(begin)), "ns"))
			return []result{r.judge(res)}, err
		},
	}
}

// commits returns how often a store has made something durable while f ran.
func commits(k *kept, f func() error) (int, error) {
	store, ok := k.store.(*bolt.Store)
	if !ok {
		return 0, errNoFile
	}
	before := store.Stats().Commits
	err := f()
	return store.Stats().Commits - before, err
}

var errNoFile = errors.New("the store has no file")

// grantTo is what rows that issue while they are timed grant.
func grantTo(subject string) lapse.Grant { return lapse.Grant{Subject: subject, Scope: scope} }
