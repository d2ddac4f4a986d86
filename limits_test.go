package lapse_test

import (
	"context"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
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
		l.clock.add(time.Hour)
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
		"it is replaced often": func(l *limited) { l.replace(0); l.clock.add(time.Minute); l.replace(0); l.use(0) },
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
				l.clock.add(time.Minute)
				wantDiff(t, "evicted", []int{0}, l.logIn())
				l.clock.add(time.Minute)
				wantDiff(t, "the next", []int{1}, l.logIn())
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
		"replaced, then another used": {func(l *limited) { l.replace(1); l.clock.add(time.Minute); l.use(0) }, []int{2, 1, 0}},
		"used, then another replaced": {func(l *limited) { l.use(1); l.clock.add(time.Minute); l.replace(0) }, []int{2, 1, 0}},
		"all are replaced, the last first": {func(l *limited) {
			for n := range 3 {
				l.replace(2 - n)
				l.clock.add(time.Minute)
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
			l.clock.add(500 * time.Millisecond)
			l.access[0] = previous
			l.use(0)
		}, []int{0, 1, 2}},
	} {
		t.Run(name, func(t *testing.T) {
			eachKind(t, lapse.LimitEndIdlest, func(l *limited) {
				row.do(l)
				for _, want := range row.goes {
					l.clock.add(time.Hour)
					wantDiff(t, "evicted", []int{want}, l.logIn())
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
					if _, _, err := opened(m.Hold(ctx, l.access[n])); err != nil {
						t.Fatal(err)
					}
					l.clock.add(time.Minute)
				}
				if row.released {
					release()
					synctest.Wait()
				}
				for _, want := range row.goes {
					l.clock.add(time.Hour)
					wantDiff(t, "evicted", []int{want}, l.logIn())
				}
			})
		})
	}
}
