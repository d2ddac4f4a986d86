package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

const (
	longLife = 10_000 * time.Hour
	never    = 9_000 * time.Hour // a RenewEvery that no run reaches
	lotLife  = 24 * time.Hour    // the first lot lives that long, the next twice as long
	scope    = "read write"
)

// kept is a store of lapse with tokens in it.
type kept struct {
	store   storage.Store
	tokens  *lapse.Manager
	bearers texts  // in the order in which they are checked, which is not that of issue
	path    string // "" in memory
}

// manager makes one over store whose tokens live long. Checks renew nothing before
// renewEvery has passed.
func manager(store storage.Store, renewEvery time.Duration, clock lapse.Clock) (*lapse.Manager, error) {
	return lapse.New(store, lapse.Config{
		Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit, RenewEvery: renewEvery},
		Clock:  clock,
	})
}

// memory returns a store in memory with n live tokens, one to a subject.
func (w *world) memory(n int) (*kept, error) {
	return once(w, fmt.Sprintf("lapse in memory, %s tokens", grouped(n)), func() (*kept, error) {
		return w.keep(memory.New(), "", n, 2, w.grant(n))
	})
}

// bolt returns a store in a file with n live tokens, one to a subject.
func (w *world) bolt(n int) (*kept, error) {
	return once(w, fmt.Sprintf("lapse on bolt, %s tokens", grouped(n)), func() (*kept, error) {
		path := w.file("lapse.db")
		store, err := bolt.Open(path, nil)
		if err != nil {
			return nil, err
		}
		return w.keep(store, path, n, w.plan.builders, w.grant(n))
	})
}

// grant returns what token i of a store of n is granted. In the largest store lots
// of a tenth die together, oldest first, for the rows about sweeping; the others
// live long.
func (w *world) grant(n int) func(i int) lapse.Grant {
	return func(i int) lapse.Grant {
		g := lapse.Grant{Subject: subject(i), Scope: scope}
		if lot := i / (n / 10); n == w.plan.large() && lot < w.lots() {
			g.TTL = lotLife * time.Duration(1+lot)
		}
		return g
	}
}

// lots is how many lots the largest store has: each row about sweeping has its own.
func (w *world) lots() int { return 2 * w.plan.sweeps }

// lasting is how many of a store's bearers, the first ones, belong to tokens of no lot.
func (w *world) lasting(n int) int { return n - w.lots()*(n/10) }

// keep fills a store with n tokens and closes it at release.
func (w *world) keep(store storage.Store, path string, n, workers int, grant func(i int) lapse.Grant) (*kept, error) {
	w.atRelease(store.Close)
	m, err := manager(store, never, nil)
	if err != nil {
		return nil, err
	}
	k := &kept{store: store, tokens: m, path: path}
	k.bearers, err = issueAll(w.ctx, m, n, workers, w.order(n), grant)
	return k, err
}

// order returns the place in the order of checks for each token in the order of
// issue: any place, but that the tokens of no lot come first.
func (w *world) order(n int) []int {
	lasting := n
	if n == w.plan.large() {
		lasting = w.lasting(n)
	}
	random := rand.New(rand.NewPCG(3, 4))
	dying := random.Perm(n - lasting)
	for i := range dying {
		dying[i] += lasting
	}
	return append(dying, random.Perm(lasting)...)
}

// issueAll issues n tokens and returns their bearers, that of token i in place
// order[i].
func issueAll(ctx context.Context, m *lapse.Manager, n, workers int, order []int, grant func(i int) lapse.Grant) (texts, error) {
	first, err := m.Issue(ctx, grant(0))
	if err != nil {
		return texts{}, err
	}
	width := len(first.Bearer)
	all := make([]byte, n*width)
	copy(all[order[0]*width:], first.Bearer)
	err = together(workers, n-1, func(i int) error {
		issued, err := m.Issue(ctx, grant(i+1))
		copy(all[order[i+1]*width:], issued.Bearer)
		return err
	})
	return texts{string(all), width}, err
}

// check is an Authenticate whose result is used.
func check(m *lapse.Manager, bearers texts) func(i int) error {
	ctx := context.Background()
	return func(i int) error {
		tok, err := m.Authenticate(ctx, bearers.at(i))
		if err == nil && tok.Subject == "" {
			err = errNothing
		}
		return err
	}
}

// tickClock is the system clock, a millisecond later with every reading: no two
// uses fall on one instant, where the second would have nothing to renew. It is for
// one goroutine.
type tickClock struct{ ticks time.Duration }

func (c *tickClock) Now() time.Time {
	c.ticks += time.Millisecond
	return time.Now().Add(c.ticks)
}

func (c *tickClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// shiftClock is the system clock, set ahead.
type shiftClock struct{ ahead atomic.Int64 }

func (c *shiftClock) Now() time.Time { return time.Now().Add(time.Duration(c.ahead.Load())) }

func (c *shiftClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

func (c *shiftClock) set(ahead time.Duration) { c.ahead.Store(int64(ahead)) }

// slowClock is the system clock at a thousandth of its speed, set ahead: a grace lasts for
// as long as a contest does. It is for stores of its own.
type slowClock struct {
	begin time.Time
	ahead time.Duration
}

func (c *slowClock) Now() time.Time { return c.begin.Add(c.ahead + time.Since(c.begin)/1000) }

func (c *slowClock) After(d time.Duration) <-chan time.Time { return time.After(d * 1000) }
