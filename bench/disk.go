package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"os"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// onDisk compares the size of a file with what its records say.
func (s *spaces) onDisk(path string) error {
	f, err := fileUse(path)
	if err == nil && f.entries != s.size {
		err = fmt.Errorf("%s holds %d records, not %d", path, f.entries, s.size)
	}
	s.disk = [2]float64{float64(f.size) / float64(s.size), float64(f.payload) / float64(s.size)}
	return err
}

// open times opening the file at path, warm, in turns with reading it with bbolt.
func (s *spaces) open(path string) error {
	own := func() (time.Duration, error) {
		begin := time.Now()
		store, err := bolt.Open(path, nil)
		if err != nil {
			return 0, err
		}
		return time.Since(begin), store.Close()
	}
	scan := func() (time.Duration, error) {
		begin := time.Now()
		_, err := fileUse(path)
		return time.Since(begin), err
	}
	for round := range 1 + s.w.plan.costlyRounds {
		for _, which := range [2]int{round % 2, 1 - round%2} {
			took, err := []func() (time.Duration, error){own, scan}[which]()
			if err != nil {
				return err
			}
			if round > 0 { // the first warms
				s.opens[which] = append(s.opens[which], float64(took))
			}
		}
	}
	return nil
}

// use says how the bytes of a bbolt file are used.
type use struct {
	size    int64 // of the file
	payload int64 // bytes of keys and values in the bucket that has most of those
	entries int   // in that bucket
}

// fileUse reads every entry of the bbolt file at path.
func fileUse(path string) (use, error) {
	info, err := os.Stat(path)
	if err != nil {
		return use{}, err
	}
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, Timeout: time.Second})
	if err != nil {
		return use{}, err
	}
	defer db.Close()
	most := use{}
	err = db.View(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			u := use{}
			err := b.ForEach(func(k, v []byte) error {
				u.payload += int64(len(k) + len(v))
				u.entries++
				return nil
			})
			if u.entries > most.entries {
				most = u
			}
			return err
		})
	})
	most.size = info.Size()
	return most, err
}

// churnExperiments replace a tenth of the tokens in each of ten rounds: once the
// oldest die, once any.
func churnExperiments(p plan) []experiment {
	id := "churn/" + count(p.churn)
	line := func(lapse string) row {
		return row{id: id + "/" + lapse + "/live-data", lapse: lapse, peer: "live-data", must: atMost(2), allocs: uncounted}
	}
	return []experiment{&measurement{
		group: group{ID: id, Kind: "churn", Tokens: p.churn, Callers: 1,
			Title: fmt.Sprintf("Size of the file after ten rounds in which a tenth of %s tokens died, was swept and replaced", grouped(p.churn))},
		lines: []row{line("bolt-oldest"), line("bolt-any")},
		measure: func(ctx context.Context, w *world, rows []row) ([]result, error) {
			var all []result
			for _, r := range rows {
				w.say("churning, %s", r.lapse)
				u, err := w.churned(ctx, r.lapse == "bolt-any")
				if err != nil {
					return nil, err
				}
				res := r.compare("B", []float64{float64(u.size)}, []float64{float64(u.payload)})
				res.Note = fmt.Sprintf("%s live", grouped(u.entries))
				all = append(all, r.judge(res))
			}
			return all, nil
		},
	}}
}

const (
	churnRounds = 10
	roundTime   = time.Hour
)

// churned returns the use of a file after the rounds. If any token may die, each has one
// chance in ten in every round; if not, each lives for ten rounds.
func (w *world) churned(ctx context.Context, any bool) (use, error) {
	path := w.file("churn.db")
	store, err := bolt.Open(path, nil)
	if err != nil {
		return use{}, err
	}
	defer store.Close()
	clock := new(shiftClock)
	m, err := lapse.New(store, lapse.Config{
		Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit, MaxTokens: lapse.NoTokenLimit, Retention: time.Millisecond},
		Clock:  clock,
	})
	if err != nil {
		return use{}, err
	}
	c := churner{w, m, make([]int, 2*churnRounds+1)}
	if err := c.issue(ctx, 0, lifetimes(w.plan.churn, any, true)); err != nil {
		return use{}, err
	}
	for round := 1; round <= churnRounds; round++ {
		clock.set(time.Duration(round) * roundTime)
		if err := c.replace(ctx, round, lifetimes(w.plan.churn/churnRounds, any, false)); err != nil {
			return use{}, err
		}
	}
	if err := store.Close(); err != nil {
		return use{}, err
	}
	return fileUse(path)
}

// lifetimes returns for n tokens in how many rounds each dies, the first ones of all
// evenly spread.
func lifetimes(n int, any, first bool) []int {
	random := rand.New(rand.NewPCG(5, uint64(n)))
	lives := make([]int, n)
	for i := range lives {
		switch {
		case any:
			lives[i] = 1 + int(math.Log(1-random.Float64())/math.Log(1-1.0/churnRounds))
		case first:
			lives[i] = 1 + i*churnRounds/n
		default:
			lives[i] = churnRounds
		}
	}
	return lives
}

// churner issues tokens and counts in which round they die.
type churner struct {
	w     *world
	m     *lapse.Manager
	dying []int
}

// replace sweeps those that have died by a round and issues others.
func (c *churner) replace(ctx context.Context, round int, lives []int) error {
	deleted, err := c.m.Sweep(ctx)
	if err == nil && deleted != c.dying[round] {
		err = fmt.Errorf("%d swept in round %d, %d had died", deleted, round, c.dying[round])
	}
	if err != nil {
		return err
	}
	return c.issue(ctx, round, lives)
}

// issue issues a token for each of the lives, which are counted in rounds.
func (c *churner) issue(ctx context.Context, round int, lives []int) error {
	for _, life := range lives {
		if at := round + life; at < len(c.dying) {
			c.dying[at]++
		}
	}
	return together(c.w.plan.builders, len(lives), func(i int) error {
		ttl := time.Duration(lives[i])*roundTime - roundTime/2
		_, err := c.m.Issue(ctx, lapse.Grant{Subject: subject(i), Scope: scope, TTL: ttl})
		return err
	})
}
