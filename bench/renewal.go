package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"time"

	"github.com/seed-55daa01a/lapse"
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

// renewalWrites counts the transactions that renewing checks have made durable by
// the time the last of them returns.
func renewalWrites(p plan, size int) experiment {
	id := "renewal/" + count(size)
	r := row{id: id + "/bolt/transactions", lapse: "bolt-renewing", must: itselfAtMost(0.01, "tx"), allocs: uncounted}
	return &measurement{
		group: group{ID: id + "/bolt", Kind: "renewal-writes", Tokens: size, Callers: 1,
			Title: "Durable transactions by check where every use renews"},
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
			n, err := transactions(k.path, func() error {
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

// transactions returns how many transactions a bbolt file saw while f ran. Each
// durable one writes its number into one of the two meta pages.
func transactions(path string, f func() error) (uint64, error) {
	before, err := lastTransaction(path)
	if err != nil {
		return 0, err
	}
	if err := f(); err != nil {
		return 0, err
	}
	after, err := lastTransaction(path)
	return after - before, err
}

const (
	boltMagic = 0xED0CDAED
	metaStart = 16 // behind the header of its page
	metaTxid  = metaStart + 48
)

// lastTransaction reads the number of the last durable transaction. It asks the
// file, because the store does not say.
func lastTransaction(path string) (uint64, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	last, found, size := uint64(0), false, int64(os.Getpagesize())
	for page := range int64(2) {
		var b [metaTxid + 8]byte
		if _, err := f.ReadAt(b[:], page*size); err != nil {
			return 0, err
		}
		if binary.NativeEndian.Uint32(b[metaStart:]) == boltMagic {
			last, found = max(last, binary.NativeEndian.Uint64(b[metaTxid:])), true
		}
	}
	if !found {
		return 0, fmt.Errorf("%s has no meta page where one was looked for", path)
	}
	return last, nil
}

// grantTo is what rows that issue while they are timed grant.
func grantTo(subject string) lapse.Grant { return lapse.Grant{Subject: subject, Scope: scope} }
