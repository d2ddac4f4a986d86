package lapse_test

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// limited is what a limit is tried on: plain tokens or sessions of ana, three of them,
// logged in one after the other.
type limited struct {
	*fixture
	m     *lapse.Manager // which authenticates
	pairs *lapse.Pairs   // nil for plain tokens

	ids    []lapse.ID
	access []string // the texts that authenticate
	renew  []string // the texts that are given for new ones
}

// eachKind runs test on plain tokens and on sessions, under a limit of three, in bubbles.
func eachKind(t *testing.T, atLimit lapse.AtLimit, test func(l *limited)) {
	policy := lapse.Policy{TTL: 100 * time.Hour, MaxTokens: 3, AtLimit: atLimit}
	for _, kind := range []string{"tokens", "sessions"} {
		t.Run(kind, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFixture(t, lapse.Config{Policy: policy})
				l := &limited{fixture: f, m: f.Manager}
				if kind == "sessions" {
					var err error
					l.pairs, err = lapse.NewPairs(f.store, lapse.PairConfig{
						Access:  lapse.Config{Clock: f.clock, Policy: lapse.Policy{TTL: 50 * time.Hour}},
						Refresh: lapse.Config{Policy: policy},
					})
					if err != nil {
						t.Fatal(err)
					}
					l.m = l.pairs.Access()
				}
				l.fill()
				test(l)
			})
		})
	}
}

func (l *limited) fill() {
	for range 3 {
		if evicted := l.logIn(); len(evicted) > 0 {
			l.t.Fatalf("evicted %v within the limit", evicted)
		}
		l.clock.Add(time.Hour)
	}
}

// logIn issues one more, and returns which of them made room, by their number.
func (l *limited) logIn() (evicted []int) {
	l.t.Helper()
	var ids []lapse.ID
	if l.pairs != nil {
		c, err := l.pairs.Issue(l.ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			l.t.Fatal(err)
		}
		l.add(c.Access.ID, c.Access.Bearer, c.Refresh.Bearer)
		ids = c.Refresh.Evicted
	} else {
		i, err := l.m.Issue(l.ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			l.t.Fatal(err)
		}
		l.add(i.ID, i.Bearer, i.Bearer)
		ids = i.Evicted
	}
	for _, id := range ids {
		evicted = append(evicted, slices.Index(l.ids, id))
	}
	return evicted
}

func (l *limited) add(id lapse.ID, access, renew string) {
	l.ids, l.access, l.renew = append(l.ids, id), append(l.access, access), append(l.renew, renew)
}

// use authenticates by the text of the n-th.
func (l *limited) use(n int) {
	l.t.Helper()
	if _, err := l.m.Authenticate(l.ctx, l.access[n]); err != nil {
		l.t.Fatalf("Authenticate: %v", err)
	}
}

// replace rotates or refreshes the n-th.
func (l *limited) replace(n int) {
	l.t.Helper()
	if l.pairs != nil {
		c, err := l.pairs.Refresh(l.ctx, l.renew[n])
		if err != nil {
			l.t.Fatal(err)
		}
		l.access[n], l.renew[n] = c.Access.Bearer, c.Refresh.Bearer
		return
	}
	i, err := l.m.Rotate(l.ctx, l.renew[n], time.Second)
	if err != nil {
		l.t.Fatal(err)
	}
	l.access[n], l.renew[n] = i.Bearer, i.Bearer
}

// TestOldestLoggedInFirst, however often its secret was replaced since, and however it
// was used.
func TestOldestLoggedInFirst(t *testing.T) {
	for name, do := range map[string]func(l *limited){
		"untouched":            func(*limited) {},
		"the oldest is used":   func(l *limited) { l.use(0) },
		"it is replaced":       func(l *limited) { l.replace(0) },
		"it is replaced often": func(l *limited) { l.replace(0); l.clock.Add(time.Minute); l.replace(0); l.use(0) },
		"another is replaced":  func(l *limited) { l.replace(2); l.replace(1) },
		"its repeat is asked for": func(l *limited) {
			text := l.renew[0]
			l.replace(0)
			l.renew[0] = text
			l.replace(0)
		},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, lapse.LimitEndOldest, func(l *limited) {
				do(l)
				l.clock.Add(time.Minute)
				lapsetest.WantDiff(t, "evicted", []int{0}, l.logIn())
				l.clock.Add(time.Minute)
				lapsetest.WantDiff(t, "the next", []int{1}, l.logIn())
			})
		})
	}
}

// TestIdlest goes by the latest of log-in, rotation or refresh, and stored use.
func TestIdlest(t *testing.T) {
	for name, row := range map[string]struct {
		do   func(l *limited)
		goes []int // in this order
	}{
		"untouched":                   {func(*limited) {}, []int{0, 1, 2}},
		"the first is used":           {func(l *limited) { l.use(0) }, []int{1, 2, 0}},
		"the first is replaced":       {func(l *limited) { l.replace(0) }, []int{1, 2, 0}},
		"replaced, then another used": {func(l *limited) { l.replace(1); l.clock.Add(time.Minute); l.use(0) }, []int{2, 1, 0}},
		"used, then another replaced": {func(l *limited) { l.use(1); l.clock.Add(time.Minute); l.replace(0) }, []int{2, 1, 0}},
		"all are replaced, the last first": {func(l *limited) {
			for n := range 3 {
				l.replace(2 - n)
				l.clock.Add(time.Minute)
			}
		}, []int{2, 1, 0}},
		"looked at, which is no use": {func(l *limited) {
			if _, err := l.m.Peek(l.ctx, l.access[0]); err != nil {
				l.t.Error(err)
			}
		}, []int{0, 1, 2}},
		"used by a previous text, which is none": {func(l *limited) {
			previous := l.access[0]
			l.replace(0)
			l.replace(1) // at the same instant, with a higher ID
			l.replace(2)
			l.clock.Add(500 * time.Millisecond)
			l.access[0] = previous
			l.use(0)
		}, []int{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, lapse.LimitEndIdlest, func(l *limited) {
				row.do(l)
				for _, want := range row.goes {
					l.clock.Add(time.Hour)
					lapsetest.WantDiff(t, "evicted", []int{want}, l.logIn())
				}
			})
		})
	}
}

// TestHeldCountsAsUsed now, if it is held through the Manager that makes room; of those
// that are held, the one that was idle for longest goes.
func TestHeldCountsAsUsed(t *testing.T) {
	for name, row := range map[string]struct {
		held     []int
		another  bool // Manager holds them
		released bool
		goes     []int
	}{
		"none":                         {nil, false, false, []int{0, 1, 2}},
		"the idlest":                   {[]int{0}, false, false, []int{1, 2}},
		"the idlest, and the next":     {[]int{0, 1}, false, false, []int{2}},
		"all":                          {[]int{1, 0, 2}, false, false, []int{1, 3, 4}},
		"by another Manager, as a use": {[]int{0}, true, false, []int{1, 2, 0}},
		"no more, as a use":            {[]int{0}, false, true, []int{1, 2, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, lapse.LimitEndIdlest, func(l *limited) {
				m := l.m
				if row.another {
					m = l.manager(lapse.Config{})
				}
				ctx, release := context.WithCancel(l.ctx)
				defer synctest.Wait()
				defer release()
				for _, n := range row.held {
					if _, _, err := lapsetest.Opened(m.Hold(ctx, l.access[n])); err != nil {
						t.Fatal(err)
					}
					l.clock.Add(time.Minute)
				}
				if row.released {
					release()
					synctest.Wait()
				}
				for _, want := range row.goes {
					l.clock.Add(time.Hour)
					lapsetest.WantDiff(t, "evicted", []int{want}, l.logIn())
				}
			})
		})
	}
}

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
	clock, ctx := lapsetest.NewClock(), context.Background()
	c := &costs{ctx: ctx, store: &counting{Store: memory.New()}}
	var err error
	must := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		clock.Add(time.Millisecond) // so that the parent is the oldest
	}
	cfg := lapse.Config{Clock: clock, Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1))}, Policy: lapse.Policy{MaxTokens: 3, MaxDelegates: 1, AtLimit: lapse.LimitEndOldest}}
	c.m, err = lapse.New(c.store, cfg)
	must()
	c.pairs, err = lapse.NewPairs(c.store, lapse.PairConfig{Access: lapse.Config{Clock: clock}, Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1}}})
	must()
	bury(t, c.store, "ana", dead, lapsetest.StartMilli)
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
	"Pairs.ExpireBearer": func(c *costs) error {
		return lapsetest.LoggedOut(c.pairs.ExpireBearer(c.ctx, c.session.Refresh.Bearer))
	},
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

// TestNoVerbTrustsLiving: Living may yield the dead, too, and each verb asks of every
// record itself whether it lives.
func TestNoVerbTrustsLiving(t *testing.T) {
	for name, row := range map[string]struct {
		die  func(c *costs) error // something that made room
		want func(c *costs) error
	}{
		"a dead token takes no room": {
			func(c *costs) error { _, err := c.m.Expire(c.ctx, c.budget.ID); return err },
			func(c *costs) error {
				i, err := c.m.Issue(c.ctx, lapse.Grant{Subject: "ana"})
				return errors.Join(err, evictedNone(i.Evicted))
			}},
		"a dead session takes no room": {
			func(c *costs) error {
				return lapsetest.LoggedOut(c.pairs.ExpireBearer(c.ctx, c.session.Refresh.Bearer))
			},
			func(c *costs) error {
				p, err := c.pairs.Issue(c.ctx, lapse.Grant{Subject: "ana"})
				return errors.Join(err, evictedNone(p.Refresh.Evicted))
			}},
		"a dead delegate does not count": {
			func(c *costs) error { _, err := c.m.Expire(c.ctx, c.child.ID); return err },
			func(c *costs) error { _, err := c.m.Delegate(c.ctx, c.parent.Bearer, lapse.Grant{}); return err }},
		"a dead delegate does not end again": {
			func(c *costs) error { _, err := c.m.Expire(c.ctx, c.child.ID); return err },
			func(c *costs) error {
				n, err := c.m.ExpireSubject(c.ctx, "ana", c.session.Access.ID)
				if err == nil && n != 3 {
					err = fmt.Errorf("ended %d; want 3", n)
				}
				return err
			}},
		"a dead token is not obtained": {
			func(c *costs) error { _, err := c.m.ExpireSubject(c.ctx, "ana"); return err },
			func(c *costs) error {
				i, err := c.m.Obtain(c.ctx, lapse.Grant{Subject: "ana"})
				if err == nil && i.Existing {
					err = errors.New("it is given again")
				}
				return err
			}},
	} {
		c := newCosts(t, 100, true)
		if err := errors.Join(row.die(c), row.want(c)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// evictedNone returns an error that says what was evicted.
func evictedNone(evicted []lapse.ID) error {
	if len(evicted) > 0 {
		return fmt.Errorf("evicted %v", evicted)
	}
	return nil
}
