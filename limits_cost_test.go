package lapse_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// counting counts what the transactions of a store in memory are given to look at.
type counting struct {
	storage.Store
	all    bool // the planted fault: Living yields the dead, too
	seen   int  // records that Records and Living have yielded
	walked int  // how often Records was asked for
}

func (c *counting) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return c.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(countingTx{tx, c}) })
}

// countingTx hides what its Tx can do besides.
type countingTx struct {
	storage.Tx
	c *counting
}

func (tx countingTx) Records() iter.Seq2[storage.Record, error] {
	tx.c.walked++
	return tx.counted(tx.Tx.Records())
}

func (tx countingTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	if tx.c.all {
		return tx.counted(tx.Tx.Records())
	}
	return tx.counted(tx.Tx.Living(now))
}

func (tx countingTx) counted(records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range records {
			tx.c.seen++
			if !yield(r, err) {
				return
			}
		}
	}
}

// bury puts n dead records of subject into store: they ended or ran out before now.
func bury(tb testing.TB, store storage.Store, subject string, n int, now time.Time) {
	tb.Helper()
	const batch = 10_000
	for first := 0; first < n; first += batch {
		err := store.Update(context.Background(), subject, func(tx storage.Tx) error {
			for i := first; i < min(n, first+batch); i++ {
				if err := tx.Put(deadRecord(subject, i, now)); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			tb.Fatal(err)
		}
	}
}

func deadRecord(subject string, i int, now time.Time) storage.Record {
	var id storage.ID
	binary.BigEndian.PutUint64(id[:], uint64(now.UnixMilli()-3_600_000)<<16|0x7000)
	binary.BigEndian.PutUint64(id[8:], 1<<63|uint64(i))
	r := storage.Record{TTL: time.Hour, Digest: storage.NewDigest(storage.SHA256, [32]byte{1})}
	r.ID, r.Prefix, r.Subject = id, "lapse", subject
	r.IssuedAt, r.ExpiresAt = now.Add(-time.Hour), now.Add(-time.Minute)
	if i%2 == 0 {
		r.ExpiresAt, r.EndedAt, r.EndReason = now.Add(time.Hour), now.Add(-time.Minute), storage.EndRevoked
	}
	return r
}

// costs is a subject with five live records, of each kind, beside dead ones.
type costs struct {
	ctx     context.Context
	store   *counting
	m       *lapse.Manager
	pairs   *lapse.Pairs
	parent  lapse.Issued // of which child is a delegate
	child   lapse.Issued
	budget  lapse.Issued
	session lapse.TokenPair
}

func newCosts(t *testing.T, dead int, all bool) *costs {
	t.Helper()
	clock, ctx := newClock(), context.Background()
	c := &costs{ctx: ctx, store: &counting{Store: memory.New()}}
	var err error
	must := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		clock.add(time.Millisecond) // so that the parent is the oldest
	}
	cfg := lapse.Config{Clock: clock, Keys: []lapse.Key{lapse.NewKey(keyOf(1))}, Policy: lapse.Policy{MaxTokens: 3, MaxDelegates: 1, AtLimit: lapse.LimitEndOldest}}
	c.m, err = lapse.New(c.store, cfg)
	must()
	c.pairs, err = lapse.NewPairs(c.store, lapse.PairConfig{Access: lapse.Config{Clock: clock}, Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1}}})
	must()
	bury(t, c.store, "ana", dead, startMilli)
	c.parent, err = c.m.Issue(ctx, lapse.Grant{Subject: "ana"})
	must()
	c.child, err = c.m.Delegate(ctx, c.parent.Bearer, lapse.Grant{})
	must()
	c.budget, err = c.m.Issue(ctx, lapse.Grant{Subject: "ana", MaxUses: 1})
	must()
	_, err = c.m.Obtain(ctx, lapse.Grant{Subject: "ana"})
	must()
	c.session, err = c.pairs.Issue(ctx, lapse.Grant{Subject: "ana"})
	must()
	c.store.seen, c.store.walked, c.store.all = 0, 0, all
	return c
}

// costly are the verbs that have a transaction.
var costly = map[string]func(c *costs) error{
	"Issue, which evicts": func(c *costs) error { _, err := c.m.Issue(c.ctx, lapse.Grant{Subject: "ana"}); return err },
	"Obtain":              func(c *costs) error { _, err := c.m.Obtain(c.ctx, lapse.Grant{Subject: "ana"}); return err },
	"Obtain, which evicts": func(c *costs) error {
		_, err := c.m.Obtain(c.ctx, lapse.Grant{Subject: "ana", Name: "another"})
		return err
	},
	"Delegate":      func(c *costs) error { _, err := c.m.Delegate(c.ctx, c.child.Bearer, lapse.Grant{}); return err },
	"Rotate":        func(c *costs) error { _, err := c.m.Rotate(c.ctx, c.parent.Bearer, 0); return err },
	"RotateID":      func(c *costs) error { _, err := c.m.RotateID(c.ctx, c.parent.ID, 0); return err },
	"Renew":         func(c *costs) error { _, err := c.m.Renew(c.ctx, c.child.Bearer); return err },
	"the last use":  func(c *costs) error { _, err := c.m.Authenticate(c.ctx, c.budget.Bearer); return err },
	"Expire":        func(c *costs) error { _, err := c.m.Expire(c.ctx, c.parent.ID); return err },
	"ExpireBearer":  func(c *costs) error { _, err := c.m.ExpireBearer(c.ctx, c.parent.Bearer); return err },
	"ExpireSubject": func(c *costs) error { _, err := c.m.ExpireSubject(c.ctx, "ana"); return err },
	"ExpireSubject, keeping one": func(c *costs) error {
		_, err := c.m.ExpireSubject(c.ctx, "ana", c.child.ID)
		return err
	},
	"Pairs.Issue, which evicts": func(c *costs) error { _, err := c.pairs.Issue(c.ctx, lapse.Grant{Subject: "ana"}); return err },
	"Refresh":                   func(c *costs) error { _, err := c.pairs.Refresh(c.ctx, c.session.Refresh.Bearer); return err },
	"Pairs.ExpireBearer":        func(c *costs) error { return loggedOut(c.pairs.ExpireBearer(c.ctx, c.session.Refresh.Bearer)) },
}

// TestCostIsWhatLives: no verb looks at more of a subject's records than those that live,
// a few times at most, however many are dead.
func TestCostIsWhatLives(t *testing.T) {
	for name, do := range costly {
		var seen []int
		for _, dead := range []int{0, 1_000} {
			c := newCosts(t, dead, false)
			if err := do(c); err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if seen = append(seen, c.store.seen); c.store.seen > 5+10 || c.store.walked > 0 {
				t.Errorf("%s: with five live records and %d dead ones it looked at %d, and asked %d times for all", name, dead, c.store.seen, c.store.walked)
			}
		}
		if seen[0] != seen[1] {
			t.Errorf("%s: it looked at %d records, and at %d beside the dead", name, seen[0], seen[1])
		}
	}
}

// TestCostFindsWhoWalksTheDead: the harness must find a store whose Living yields them.
func TestCostFindsWhoWalksTheDead(t *testing.T) {
	found := 0
	for name, do := range costly {
		c := newCosts(t, 1_000, true)
		if err := do(c); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if c.store.seen > 1_000 {
			found++
		}
	}
	if found < 8 {
		t.Errorf("found by %d verbs; want most", found)
	}
}

// BenchmarkBesideTheDead is what a verb costs on a subject with dead records that no Sweep
// has deleted. Compare 100,000 of them with none.
func BenchmarkBesideTheDead(b *testing.B) {
	for _, verb := range []string{"Issue", "Expire", "ExpireSubject", "Delegate"} {
		for _, dead := range []int{0, 1_000, 100_000} {
			b.Run(fmt.Sprint(verb, "/", dead), func(b *testing.B) { benchBesideTheDead(b, verb, dead) })
		}
	}
}

func benchBesideTheDead(b *testing.B, verb string, dead int) {
	ctx, store := context.Background(), memory.New()
	m, err := lapse.New(store, lapse.Config{Policy: lapse.Policy{MaxTokens: 5, AtLimit: lapse.LimitEndOldest}})
	if err != nil {
		b.Fatal(err)
	}
	bury(b, store, "ana", dead, time.Now().UTC().Truncate(time.Millisecond))
	var i lapse.Issued
	prepare := func() {
		if i, err = m.Issue(ctx, lapse.Grant{Subject: "ana"}); err != nil {
			b.Fatal(err)
		}
	}
	prepare()
	for b.Loop() {
		switch verb {
		case "Issue":
			_, err = m.Issue(ctx, lapse.Grant{Subject: "ana"})
		case "Expire":
			_, err = m.Expire(ctx, i.ID)
			b.StopTimer()
			prepare()
			b.StartTimer()
		case "ExpireSubject":
			_, err = m.ExpireSubject(ctx, "ana")
			b.StopTimer()
			prepare()
			b.StartTimer()
		case "Delegate":
			_, err = m.Delegate(ctx, i.Bearer, lapse.Grant{})
			b.StopTimer()
			_, errEnd := m.Expire(ctx, i.ID)
			prepare()
			b.StartTimer()
			if errEnd != nil {
				b.Fatal(errEnd)
			}
		}
		if err != nil {
			b.Fatal(err)
		}
	}
}
