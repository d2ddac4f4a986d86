package lapse

import (
	"context"
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"iter"
	"maps"
	"os"
	"reflect"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// tickBegins are the ways in which an epoch begins while a verb runs.
var tickBegins = []struct {
	name  string
	begin func(w *tickWorld, other *Manager)
}{
	{"accepted by another Manager", func(w *tickWorld, other *Manager) {
		if err := other.AcceptClock(w.ctx); err != nil {
			w.t.Error(err)
		}
	}},
	{"restarted", func(w *tickWorld, _ *Manager) {
		marks, at := w.store.Marks(), steady.Normalise(w.clock.Now())
		marks.Restart(at, steady.Add(at, steady.Quiet), marks.Epoch())
	}},
}

// TestFault6EpochAtEveryOperation has an epoch begin before and after each operation on
// the store of each verb. Then no token of before lives, and what the verb said is good
// is good.
func TestFault6EpochAtEveryOperation(t *testing.T) {
	for nth, row := range tickBegins {
		for i, v := range append(slices.Clone(tickVerbs), tickRepeat) {
			if !sample.Every(len(tickBegins), nth+i) {
				continue
			}
			t.Run(v.name+"/"+row.name, func(t *testing.T) {
				n := 0
				for tickEpochAt(t, v, row.begin, n+1) {
					n++
				}
				if none := v.name == "Identify" || v.name == "Manager.AcceptClock"; (n == 0) != none {
					t.Errorf("the epoch has begun at %d operations", n)
				}
			})
		}
	}
}

// tickEpochAt has an epoch begin at operation k of v, and reports whether v has so many.
func tickEpochAt(t *testing.T, v tickVerb, begin func(*tickWorld, *Manager), k int) (began bool) {
	w := newTickWorld(t, GuardDefault)
	other := tickMust(New(w.store, Config{Clock: w.clock, Prefix: "other"}))(t)
	w.clock.set(-time.Hour)
	w.clock.pass(time.Second)
	left := k
	w.store.set(func() {
		if left--; left == 0 {
			began = true
			begin(w, other)
		}
	})
	good, err := v.do(w)
	w.store.set(nil)
	if !began {
		return false
	}
	if err != nil && !errors.Is(err, ErrUnauthenticated) {
		t.Errorf("at operation %d: %v", k, err)
	}
	var why *Rejection
	if errors.As(err, &why) && why.Reason != EndClock && why.Reason != EndParent {
		t.Errorf("at operation %d: refused with %v: %v; want EndClock", k, why.Reason, err)
	}
	if err == nil {
		for _, text := range good {
			if err := w.peek(text); err != nil {
				t.Errorf("at operation %d: what was answered is dead: %v", k, err)
			}
		}
	}
	for _, text := range append(slices.Collect(maps.Values(w.text)), w.pair.Refresh.Bearer, w.spare.Refresh.Bearer) {
		if err := w.peek(text); !errors.Is(err, ErrUnauthenticated) {
			t.Errorf("at operation %d: a text of before: %v; want it dead", k, err)
		}
	}
	return true
}

// TestFault6SettlesAtEveryOperation: the settle time ends while something is issued, and
// no other verb runs. The token that is issued outlives that.
func TestFault6SettlesAtEveryOperation(t *testing.T) {
	issuing := "Manager.Issue Manager.Obtain again Login Pairs.Issue Manager.Rotate Manager.RotateID Manager.Renew Manager.Delegate Pairs.Refresh"
	for _, v := range tickVerbs {
		if !strings.Contains(issuing, v.name) {
			continue
		}
		for k, began := 1, true; began; k++ {
			began = false
			w := newTickWorld(t, GuardDefault)
			w.clock.set(-time.Hour)
			w.p.Access().Peek(w.ctx, w.pair.Access.Bearer)
			left := k
			w.store.set(func() {
				if left--; left == 0 {
					began = true
					w.clock.pass(defaultSettle + time.Millisecond)
				}
			})
			good, err := v.do(w)
			w.store.set(nil)
			var why *Rejection
			if replaces := strings.Contains("Manager.Rotate Manager.RotateID Manager.Renew Manager.Delegate Pairs.Refresh", v.name); replaces && errors.As(err, &why) && why.Reason == EndClock {
				continue // what it was given has ended
			}
			if err != nil {
				t.Errorf("%s at operation %d: %v", v.name, k, err)
				continue
			}
			for _, text := range good {
				if err := w.peek(text); err != nil {
					t.Errorf("%s at operation %d: dead at birth: %v", v.name, k, err)
				}
			}
		}
	}
}

// TestFault6LogInAfterSettle: the first log-in after the settle time is in, also if no
// verb has looked at the clock since that began.
func TestFault6LogInAfterSettle(t *testing.T) {
	for _, v := range tickVerbs {
		if v.name != "Manager.Issue" && v.name != "Pairs.Issue" && v.name != "Login" {
			continue
		}
		for _, passes := range []time.Duration{defaultSettle - time.Millisecond, defaultSettle, defaultSettle + time.Millisecond, time.Hour} {
			for _, looks := range []int{1, 15} {
				w := newTickWorld(t, GuardDefault)
				w.clock.set(-time.Hour)
				for range looks {
					w.m.Peek(w.ctx, w.plain.Bearer) // who looks finds it behind
					w.clock.pass(passes / time.Duration(looks))
				}
				good, err := v.do(w)
				if err != nil {
					t.Fatal(err)
				}
				for range 2 {
					for _, text := range good {
						if err := w.peek(text); err != nil {
							t.Errorf("%s after %v and %d looks: dead at birth: %v", v.name, passes, looks, err)
						}
					}
				}
			}
		}
	}
}

// TestFault8WhatLeapsAreSweptBy: a leap that what has elapsed does not explain is not
// swept by for a day. A clock that does not know what has elapsed is swept by at once, so
// that tests can travel in time.
func TestFault8WhatLeapsAreSweptBy(t *testing.T) {
	leap := defaultRetention + 30*time.Minute // and a token of 30 minutes has been dead for the retention
	for _, row := range []struct {
		name     string
		elapses  bool
		leap     time.Duration
		deleted  int
		dayLater int
	}{
		{"a mock, not long enough", false, leap - time.Millisecond, 0, 1},
		{"a mock", false, leap + time.Millisecond, 1, 0},
		{"a mock, a year", false, 365 * day, 1, 0},
		{"a clock that elapses, not long enough", true, defaultRetention - time.Millisecond, 0, 1},
		{"a clock that elapses", true, leap + time.Millisecond, 0, 1},
		{"a clock that elapses, a year", true, 365 * day, 0, 1},
	} {
		wall, mock := newTickWall(), clock.NewMock()
		mock.Set(testInstant)
		var c Clock = mock
		if row.elapses {
			c = wall
		}
		m := tickMust(New(memory.New(), Config{Clock: c}))(t)
		tickMust(m.Issue(t.Context(), Grant{Subject: "ana"}))(t)
		wall.set(row.leap)
		mock.Set(testInstant.Add(row.leap))
		if n := tickMust(m.Sweep(t.Context()))(t); n != row.deleted {
			t.Errorf("%s: deleted %d; want %d", row.name, n, row.deleted)
		}
		wall.pass(steady.Quiet + time.Hour)
		mock.Add(steady.Quiet + time.Hour)
		if n := tickMust(m.Sweep(t.Context()))(t); n != row.dayLater {
			t.Errorf("%s: a day later deleted %d; want %d", row.name, n, row.dayLater)
		}
	}
}

// TestFault8AMockSetBack: what docs/time.md says of it.
func TestFault8AMockSetBack(t *testing.T) {
	for guard, back := range map[ClockGuard]bool{GuardDefault: false, GuardStrict: false, GuardOff: true} {
		mock := clock.NewMock()
		mock.Set(testInstant)
		m := tickMust(New(memory.New(), Config{Clock: mock, ClockGuard: guard}))(t)
		m.Now()
		mock.Set(testInstant.Add(-time.Hour))
		want := map[bool]time.Time{true: testInstant.Add(-time.Hour), false: testInstant}[back]
		if got := m.Now(); !got.Equal(want) {
			t.Errorf("guard %d, set back: %v; want %v", guard, got, want)
		}
		mock.Add(time.Hour + time.Minute)
		if got := m.Now(); !got.Equal(testInstant.Add(time.Minute)) {
			t.Errorf("guard %d, caught up: %v", guard, got)
		}
	}
}

// tickMock is a mock that counts the timers that it has been asked for.
type tickMock struct {
	*clock.Mock
	timers atomic.Int64
}

func (c *tickMock) After(d time.Duration) <-chan time.Time {
	c.timers.Add(1)
	return c.Mock.After(d)
}

// tickElapsing is such a mock that knows how much time has passed.
type tickElapsing struct {
	*tickMock
	begun time.Time
}

func (c tickElapsing) Elapsed() time.Duration { return c.Now().Sub(c.begun) }

func newTickMock() *tickMock {
	c := &tickMock{Mock: clock.NewMock()}
	c.Set(testInstant)
	return c
}

// holding returns a Manager on c, and a token that is held.
func (c *tickMock) holding(t *testing.T, on Clock) (*Manager, Issued, *Hold) {
	t.Helper()
	m := tickMust(New(memory.New(), Config{Clock: on, Policy: Policy{TTL: 10 * day, MaxTTL: NoLimit}}))(t)
	i := tickMust(m.Issue(t.Context(), Grant{Subject: "ana"}))(t)
	return m, i, tickMust(m.Hold(context.Background(), i.Bearer))(t)
}

// TestFault9MockDoesNotNap: a mock stops at each of its timers. Held connections ask it
// for few, however long it is moved, how often a token is renewed, or held again.
func TestFault9MockDoesNotNap(t *testing.T) {
	for _, row := range []struct {
		name string
		most int64
		do   func(c *tickMock, m *Manager, i Issued)
	}{
		{"a day", 10, func(c *tickMock, _ *Manager, _ Issued) { c.Add(day) }},
		{"a day in hours", 10, func(c *tickMock, _ *Manager, _ Issued) {
			for range 24 {
				c.Add(time.Hour)
			}
		}},
		{"1,000 renewals", 40, func(c *tickMock, m *Manager, i Issued) {
			for n := range 1_000 {
				if n%100 == 0 {
					c.Add(time.Millisecond)
				}
				tickMust(m.Renew(context.Background(), i.Bearer))(t)
			}
			c.Add(hold.WakeEvery)
		}},
		{"1,000 connections one after the other", 40, func(c *tickMock, m *Manager, i Issued) {
			for range 1_000 {
				tickMust(m.Hold(context.Background(), i.Bearer))(t).Release()
			}
		}},
		{"1,000 times the only connection", 40, func(c *tickMock, m *Manager, i Issued) {
			own := newTickMock()
			alone := tickMust(New(m.store, Config{Clock: own}))(t)
			for range 1_000 {
				h := tickMust(alone.Hold(context.Background(), i.Bearer))(t)
				for own.timers.Load() == 0 { // or the test hangs
					runtime.Gosched()
				}
				h.Release()
			}
			c.timers.Add(own.timers.Load())
		}},
	} {
		c := newTickMock()
		m, i, held := c.holding(t, c)
		row.do(c, m, i)
		if n := c.timers.Load(); n > row.most {
			t.Errorf("%s: %d timers; want %d at most", row.name, n, row.most)
		}
		if held.Context().Err() != nil {
			t.Errorf("%s: cut by %v", row.name, context.Cause(held.Context()))
		}
		held.Release()
	}
}

// TestFault9CutToTheMillisecondOnAMock: few timers cut as exactly as many.
func TestFault9CutToTheMillisecondOnAMock(t *testing.T) {
	c := newTickMock()
	m, i, held := c.holding(t, c)
	c.Add(day)
	tickMust(m.Renew(t.Context(), i.Bearer))(t)
	for _, d := range []time.Duration{9 * day, day - time.Millisecond} {
		if c.Add(d); held.Context().Err() != nil {
			t.Fatalf("cut at %v by %v", c.Now(), context.Cause(held.Context()))
		}
	}
	c.Add(time.Millisecond)
	<-held.Context().Done()
	if err := context.Cause(held.Context()); !errors.Is(err, ErrExpired) {
		t.Errorf("cut by %v; want ErrExpired", err)
	}
}

// TestFault9ElapsingClocksAreLookedAt: a clock that knows how much time has passed is read
// every 15 seconds of its own, and with no more timers than that takes.
func TestFault9ElapsingClocksAreLookedAt(t *testing.T) {
	c := newTickMock()
	_, _, held := c.holding(t, tickElapsing{c, testInstant})
	defer held.Release()
	for range 100 {
		before := c.timers.Load()
		for c.Add(hold.WakeEvery); c.timers.Load() == before; { // or the test hangs
			runtime.Gosched()
		}
	}
	if n := c.timers.Load(); n > 400 {
		t.Errorf("%d timers in 100 looks", n)
	}
}

// TestFault10NowAgreesWithAuthenticate: of a token that a list returned, Live at
// Manager.Now says what Authenticate says, whatever the clock was set to.
func TestFault10NowAgreesWithAuthenticate(t *testing.T) {
	for _, guard := range []ClockGuard{GuardDefault, GuardOff} {
		g := newGuarded(t, Config{ClockGuard: guard, Policy: Policy{TTL: time.Hour, Renewal: RenewNever}})
		bearer := g.logIn()
		contradicted := false
		for _, step := range []struct {
			passes, set time.Duration
		}{
			{30 * time.Minute, 0}, {30*time.Minute - time.Millisecond, 0}, {0, -20 * time.Minute}, {time.Millisecond, 0},
			{5 * time.Minute, 0}, {6 * time.Minute, 0}, {0, 20 * time.Minute}, {0, 3 * time.Hour}, {time.Hour, -2 * time.Hour},
		} {
			g.machine.pass(step.passes)
			g.machine.off += step.set
			_, err := g.Authenticate(t.Context(), bearer)
			for tok, failed := range g.List(t.Context(), Query{Subject: "ana"}) {
				if failed != nil {
					t.Fatal(failed)
				}
				if live := tok.Live(g.Now()); live != (err == nil) {
					t.Errorf("guard %d at %v: alive %v, and Authenticate: %v", guard, g.machine.truth, live, err)
				}
				contradicted = contradicted || tok.Live(g.machine.Now()) != (err == nil)
			}
		}
		if contradicted != (guard == GuardDefault) {
			t.Errorf("guard %d: the clock itself has contradicted: %v", guard, contradicted)
		}
	}
}

// tickSharer is a store that keeps no marks and lets Managers share some.
type tickSharer struct {
	storage.Store
	marks *storage.Marks
}

func (s *tickSharer) SharedMarks() *storage.Marks { return s.marks }

func newTickSharer() *tickSharer {
	return &tickSharer{memory.New(), storage.NewMarks(storage.Mark{}, nil)}
}

// TestFault4PairsShareOneTime: one side of Pairs has looked at a clock that was ahead. The
// other side issues, and refreshes, by the same time.
func TestFault4PairsShareOneTime(t *testing.T) {
	for name, open := range map[string]func() storage.Store{
		"no marks":     func() storage.Store { return struct{ storage.Store }{memory.New()} },
		"shared marks": func() storage.Store { return newTickSharer() },
		"kept marks":   func() storage.Store { return memory.New() },
	} {
		for _, side := range []string{"access", "refresh"} {
			clock, ctx := newTickWall(), t.Context()
			p := tickMust(NewPairs(open(), PairConfig{Access: Config{Clock: clock}}))(t)
			clock.set(time.Hour)
			if side == "access" {
				p.access.now()
			} else {
				p.refresh.now()
			}
			clock.set(-time.Hour)
			for range 10 {
				c := tickMust(p.Issue(ctx, Grant{Subject: "ana"}))(t)
				clock.pass(time.Minute)
				for range 2 {
					if _, err := p.Access().Authenticate(ctx, c.Access.Bearer); err != nil {
						t.Fatalf("%s, the %s side was ahead: %v", name, side, err)
					}
					c = tickMust(p.Refresh(ctx, c.Refresh.Bearer))(t)
				}
				if !p.access.Now().Equal(p.refresh.Now()) {
					t.Fatalf("%s: it is %v and %v", name, p.access.Now(), p.refresh.Now())
				}
			}
		}
	}
}

// TestFault4ManagersShareOneTime: two Managers of one store see one time, where the store
// keeps marks or has some to share, and a store without either is as it was.
func TestFault4ManagersShareOneTime(t *testing.T) {
	for _, row := range []struct {
		name  string
		store storage.Store
		same  bool
	}{
		{"no marks", struct{ storage.Store }{memory.New()}, false},
		{"shared marks", newTickSharer(), true},
		{"a timekeeper", newFleetStore(&engine{tickWall: newTickWall()}), true},
		{"kept marks", memory.New(), true},
	} {
		clock := newTickWall()
		first := tickMust(New(row.store, Config{Clock: clock}))(t)
		second := tickMust(New(row.store, Config{Clock: clock}))(t)
		clock.set(time.Hour)
		first.Now()
		clock.set(-time.Hour)
		if same := first.Now().Equal(second.Now()); same != row.same {
			t.Errorf("%s: %v and %v; want the same: %v", row.name, first.Now(), second.Now(), row.same)
		}
		if !row.same {
			continue
		}
		third := tickMust(New(row.store, Config{Clock: clock}))(t)
		if !third.Now().Equal(first.Now()) {
			t.Errorf("%s: a Manager that came later sees %v, not %v", row.name, third.Now(), first.Now())
		}
	}
}

// TestFault4SharedMarksAreNotKept: nothing begins an epoch that a later process would not
// know of, and GuardStrict, which would have to, is refused.
func TestFault4SharedMarksAreNotKept(t *testing.T) {
	s, clock := newTickSharer(), newTickWall()
	if _, err := New(s, Config{Clock: clock, ClockGuard: GuardStrict}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("GuardStrict: %v; want ErrInvalidConfig", err)
	}
	m := tickMust(New(s, Config{Clock: clock}))(t)
	i := tickMust(m.Issue(t.Context(), Grant{Subject: "ana"}))(t)
	clock.set(-time.Hour)
	for range 3 {
		if _, err := m.Authenticate(t.Context(), i.Bearer); err != nil {
			t.Errorf("a clock that is behind: %v", err)
		}
		clock.pass(9 * time.Minute)
	}
	if m.AcceptClock(t.Context()); s.marks.Epoch() != 0 {
		t.Error("an epoch has begun")
	}
}

// TestFault7StrictCountsFromTheMark: a Manager under GuardStrict that is idle while the
// clock is behind counts from the store's mark when it is asked first.
func TestFault7StrictCountsFromTheMark(t *testing.T) {
	for _, row := range []struct {
		behind time.Duration // for how long, when the idle one is asked
		want   error
	}{
		{defaultSettle - time.Millisecond, nil}, {defaultSettle, nil}, {defaultSettle + time.Millisecond, ErrClock}, {25 * time.Minute, ErrClock},
	} {
		store, clock := memory.New(), newTickWall()
		busy := tickMust(New(store, Config{Clock: clock, ClockGuard: GuardStrict}))(t)
		idle := tickMust(New(store, Config{Clock: clock, ClockGuard: GuardStrict}))(t)
		i := tickMust(busy.Issue(t.Context(), Grant{Subject: "ana"}))(t)
		clock.set(-time.Hour)
		busy.Peek(t.Context(), i.Bearer)
		clock.pass(row.behind)
		if _, err := idle.Peek(t.Context(), i.Bearer); !errors.Is(err, row.want) {
			t.Errorf("after %v: %v; want %v", row.behind, err, row.want)
		}
	}
}

// TestFault7LenientKeepsNoOther: a Manager with a larger tolerance, whichever looks first
// and last, does not keep a strict one from settling, nor is it kept itself.
func TestFault7LenientKeepsNoOther(t *testing.T) {
	for _, row := range []struct {
		behind  time.Duration
		strict  error
		lenient bool // it begins an epoch
	}{
		{defaultTolerance, nil, false},
		{defaultTolerance + time.Millisecond, ErrClock, false},
		{3 * time.Hour, ErrClock, false},
		{3*time.Hour + time.Millisecond, nil, true}, // and the epoch ends the wait of the strict one
	} {
		for _, strictFirst := range []bool{true, false} {
			store, clock := memory.New(), newTickWall()
			strict := tickMust(New(store, Config{Clock: clock, ClockGuard: GuardStrict}))(t)
			lenient := tickMust(New(store, Config{Clock: clock, ClockTolerance: 3 * time.Hour}))(t)
			strict.Issue(t.Context(), Grant{Subject: "ana"})
			clock.set(-row.behind)
			look := func() (err error) {
				if strictFirst {
					_, err = strict.Issue(t.Context(), Grant{Subject: "ana"})
				}
				if _, err := lenient.Issue(t.Context(), Grant{Subject: "ana"}); err != nil {
					t.Errorf("the lenient one: %v", err)
				}
				if !strictFirst {
					_, err = strict.Issue(t.Context(), Grant{Subject: "ana"})
				}
				return err
			}
			for range 11 {
				if err := look(); err != nil {
					t.Errorf("behind by %v, before it has settled: %v", row.behind, err)
				}
				clock.pass(defaultSettle / 10)
			}
			look()
			if err := look(); !errors.Is(err, row.strict) || (store.Marks().Epoch() > 0) != row.lenient {
				t.Errorf("behind by %v, the strict one first %v: %v in epoch %d; want %v, an epoch %v",
					row.behind, strictFirst, err, store.Marks().Epoch(), row.strict, row.lenient)
			}
			fourth := tickMust(New(store, Config{Clock: clock, ClockTolerance: 4 * time.Hour}))(t) // it ends nothing either
			if fourth.Now(); !row.lenient && store.Marks().Epoch() > 0 {
				t.Errorf("behind by %v: a lenient Manager that came late began an epoch", row.behind)
			}
		}
	}
}

// TestFault7OneClockKeepsUp: where two machines' clocks differ, as long as one keeps up
// nothing settles; and once that one is silent for the settle time, the other one does.
func TestFault7OneClockKeepsUp(t *testing.T) {
	store, right, wrong := memory.New(), newTickWall(), newTickWall()
	keeps := tickMust(New(store, Config{Clock: right}))(t)
	lags := tickMust(New(store, Config{Clock: wrong}))(t)
	keeps.Now()
	wrong.set(-time.Hour)
	for range 40 {
		lags.Issue(t.Context(), Grant{Subject: "ana"})
		keeps.Now()
		right.pass(time.Minute)
		wrong.pass(time.Minute)
	}
	if store.Marks().Epoch() != 0 {
		t.Error("an epoch although another clock keeps up")
	}
	for range 12 {
		lags.Issue(t.Context(), Grant{Subject: "ana"})
		wrong.pass(time.Minute)
	}
	if lags.Issue(t.Context(), Grant{Subject: "ana"}); store.Marks().Epoch() != 1 {
		t.Errorf("epoch %d; want 1 once no clock keeps up", store.Marks().Epoch())
	}
}

// TestFault7EpochCutsHoldsAtOnce: an epoch that another Manager of the store begins, or an
// administrator, cuts connections within 100 ms, whatever time it is for them.
func TestFault7EpochCutsHoldsAtOnce(t *testing.T) {
	for name, begin := range map[string]func(holder, other *Manager) error{
		"by AcceptClock":                    func(m, _ *Manager) error { return m.AcceptClock(context.Background()) },
		"by AcceptClock of another Manager": func(_, m *Manager) error { return m.AcceptClock(context.Background()) },
		"by a verb of another Manager": func(_, m *Manager) error {
			m.Now()
			time.Sleep(2 * time.Second)
			_, err := m.Issue(context.Background(), Grant{Subject: "bob"})
			return err
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(30 * 365 * day) // the bubble begins in 2000, which is not plausible
			clock, store := &bubbleClock{start: time.Now()}, memory.New()
			m := tickMust(New(store, Config{Clock: clock, Policy: Policy{TTL: day}, ClockTolerance: 2 * time.Hour}))(t)
			other := tickMust(New(store, Config{Clock: clock, ClockSettle: time.Second}))(t)
			var held []*Hold
			for range 3 {
				i := tickMust(m.Issue(context.Background(), Grant{Subject: "ana"}))(t)
				held = append(held, tickMust(m.Hold(context.Background(), i.Bearer))(t))
			}
			synctest.Wait()
			clock.off.Add(int64(-3 * time.Hour))
			if err := begin(m, other); err != nil {
				t.Fatal(err)
			}
			time.Sleep(100 * time.Millisecond)
			synctest.Wait()
			for _, h := range held {
				var why *Rejection
				if !errors.As(context.Cause(h.Context()), &why) || why.Reason != EndClock {
					t.Errorf("%s: %v after 100 ms; want it cut with EndClock", name, context.Cause(h.Context()))
				}
				h.Release()
			}
			synctest.Wait()
		})
	}
}

// tickFull is a store with the only token, and the only session, that its policies let ana
// have, and what Observe is told of ends.
type tickFull struct {
	clock *tickWall
	store *tickStore
	m     *Manager
	p     *Pairs
	ended map[ID]EndReason
}

func newTickFull(t *testing.T, guard ClockGuard) *tickFull {
	f := &tickFull{clock: newTickWall(), store: &tickStore{Store: memory.New()}, ended: map[ID]EndReason{}}
	cfg := Config{Clock: f.clock, ClockGuard: guard, Policy: Policy{TTL: day, MaxTokens: 1, AtLimit: LimitEndOldest},
		Keys: []Key{NewKey(randomKey(1))}, Observe: func(_ context.Context, e Event) {
			if e.Kind == EventEnded {
				f.ended[e.Token.ID] = e.Token.EndReason
			}
		}}
	f.m = tickMust(New(f.store, cfg))(t)
	f.p = tickMust(NewPairs(f.store, PairConfig{Access: Config{Clock: f.clock, ClockGuard: guard, Prefix: "acc", Observe: cfg.Observe}, Refresh: Config{Prefix: "ref", Policy: Policy{MaxTokens: 1}}}))(t)
	tickMust(f.m.Issue(t.Context(), Grant{Subject: "ana"}))(t)
	tickMust(f.p.Issue(t.Context(), Grant{Subject: "ana"}))(t)
	f.clock.set(-2 * steady.Quiet)
	f.clock.pass(1)
	return f
}

// tickIssues are the verbs that evict what was there.
var tickIssues = map[string]func(ctx context.Context, f *tickFull) (ID, error){
	"Issue": func(ctx context.Context, f *tickFull) (ID, error) {
		i, err := f.m.Issue(ctx, Grant{Subject: "ana"})
		return i.ID, err
	},
	"Obtain": func(ctx context.Context, f *tickFull) (ID, error) {
		i, err := f.m.Obtain(ctx, Grant{Subject: "ana"})
		return i.ID, err
	},
	"Pairs.Issue": func(ctx context.Context, f *tickFull) (ID, error) {
		c, err := f.p.Issue(ctx, Grant{Subject: "ana"})
		return c.Access.ID, err
	},
}

// tellsWhatIsStored: Observe was told of an end exactly where a record says that a verb
// ended it, by the reason that the record has.
func (f *tickFull) tellsWhatIsStored(t *testing.T, name string, k int) {
	t.Helper()
	for rec, err := range f.store.List(t.Context(), storage.Filter{}) {
		if err != nil {
			t.Fatal(err)
		}
		if told := f.ended[rec.ID]; told != rec.EndReason {
			t.Errorf("%s, at operation %d: the record of %v was ended as %q, and told as %q", name, k, rec.ID, rec.EndReason, told)
		}
	}
}

// TestFault6EndsAreToldOnce: with an epoch that begins at each operation, what is told of
// as evicted is what was evicted.
func TestFault6EndsAreToldOnce(t *testing.T) {
	for name, issue := range tickIssues {
		for k, began := 1, true; began; k++ {
			began = false
			f, left := newTickFull(t, GuardDefault), k
			f.store.set(func() {
				if left--; left == 0 {
					began = true
					marks, at := f.store.Marks(), steady.Normalise(f.clock.Now())
					marks.Restart(at, steady.Add(at, steady.Quiet), marks.Epoch())
				}
			})
			_, err := issue(t.Context(), f)
			f.store.set(nil)
			if err != nil {
				t.Errorf("%s, at operation %d: %v", name, k, err)
			}
			f.tellsWhatIsStored(t, name, k)
		}
	}
}

// TestFault6TooManyEpochs: a verb that epochs overtake again and again says that nothing
// came of it, and has told of what it evicted.
func TestFault6TooManyEpochs(t *testing.T) {
	for name, issue := range tickIssues {
		f := newTickFull(t, GuardDefault)
		f.store.set(func() {
			marks, at := f.store.Marks(), steady.Normalise(f.clock.Now())
			marks.Restart(at, steady.Add(at, steady.Quiet), marks.Epoch())
		})
		id, err := issue(t.Context(), f)
		f.store.set(nil)
		if id != (ID{}) || !errors.Is(err, ErrUnavailable) || errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %v, %v; want ErrUnavailable", name, id, err)
		}
		f.tellsWhatIsStored(t, name, 0)
	}
}

// TestFault5SettlesMeanwhileUnderGuardStrict: the settle time ends at each operation of a
// verb that issues. The verb fails with ErrClock and has written nothing, or it has
// issued, and says so.
func TestFault5SettlesMeanwhileUnderGuardStrict(t *testing.T) {
	for name, issue := range tickIssues {
		for k, settled := 1, true; settled; k++ {
			settled = false
			f, left := newTickFull(t, GuardStrict), k
			f.m.Peek(t.Context(), "lapse_") // no verb that looks at the clock
			f.m.Token(t.Context(), ID{1})
			f.store.set(func() {
				if left--; left == 0 {
					settled = true
					f.clock.pass(defaultSettle + 1)
				}
			})
			id, err := issue(t.Context(), f)
			f.store.set(nil)
			live := map[ID]bool{}
			for rec, err := range f.store.List(t.Context(), storage.Filter{}) {
				if err != nil {
					t.Fatal(err)
				}
				if rec.EndedAt.IsZero() {
					live[rec.ID] = true
				}
			}
			if (err == nil) != live[id] || len(live) != 2 || err != nil && !errors.Is(err, ErrClock) && !errors.Is(err, ErrUnavailable) {
				t.Errorf("%s, at operation %d: %v, %v, and %d live records", name, k, id, err, len(live))
			}
			f.tellsWhatIsStored(t, name, k)
		}
	}
}

// tickExported returns the names of the exported functions of this package, and of the
// exported methods of its exported types, that have a context.
func tickExported(t *testing.T) (names []string) {
	t.Helper()
	files, err := os.ReadDir(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		if !strings.HasSuffix(file.Name(), ".go") || strings.HasSuffix(file.Name(), "_test.go") {
			continue
		}
		tree, err := parser.ParseFile(token.NewFileSet(), file.Name(), nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		for _, decl := range tree.Decls {
			f, ok := decl.(*ast.FuncDecl)
			if !ok || !f.Name.IsExported() || !tickHasContext(f.Type) {
				continue
			}
			if of := tickReceiver(f); ast.IsExported(of) {
				names = append(names, of+"."+f.Name.Name)
			} else if f.Recv == nil {
				names = append(names, f.Name.Name)
			}
		}
	}
	return names
}

func tickHasContext(f *ast.FuncType) bool {
	for _, p := range f.Params.List {
		if s, ok := p.Type.(*ast.SelectorExpr); ok && s.Sel.Name == "Context" {
			return true
		}
	}
	return false
}

// tickReceiver returns the name of the type that f is a method of, or "".
func tickReceiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if star, ok := of.(*ast.StarExpr); ok {
		of = star.X
	}
	if generic, ok := of.(*ast.IndexExpr); ok {
		of = generic.X
	}
	name, _ := of.(*ast.Ident)
	return name.Name
}

// TestAliasOfAnEarlierEpoch: a new epoch ends the token that an alias leads to. Issue with the same
// RequestID, and Import of the same key, put another one then, unless something else has happened to the
// token: a log-out, a rotation or a suspension stays what it is.
func TestAliasOfAnEarlierEpoch(t *testing.T) {
	for name, row := range map[string]struct {
		before func(w *tickWorld, id ID) error
		lives  bool // the foreign text, after another Import
	}{
		"nothing":    {func(*tickWorld, ID) error { return nil }, true},
		"a use":      {func(w *tickWorld, _ ID) error { _, err := w.m.Authenticate(w.ctx, "old"); return err }, true},
		"log-out":    {func(w *tickWorld, _ ID) error { _, err := w.m.ExpireBearer(w.ctx, "old"); return err }, false},
		"a rotation": {func(w *tickWorld, _ ID) error { _, err := w.m.Rotate(w.ctx, "old", 0); return err }, false},
		"an edit": {func(w *tickWorld, id ID) error {
			scope := "less"
			_, err := w.m.Edit(w.ctx, id, Changes{Scope: &scope})
			return err
		}, false},
		"suspension": {func(w *tickWorld, id ID) error { _, err := w.m.Suspend(w.ctx, id); return err }, false},
	} {
		for _, swept := range []bool{false, true} {
			w := newTickWorld(t, GuardDefault)
			request := func() Issued { return tickMust(w.m.Issue(w.ctx, Grant{Subject: "ana", RequestID: "again"}))(t) }
			first := request()
			tok := tickMust(w.m.Import(w.ctx, Grant{Subject: "ana"}, tickForeign("old")))(t)
			tickMust(0, row.before(w, tok.ID))(t)
			w.clock.set(-2 * time.Hour)
			tickMust(0, w.m.AcceptClock(w.ctx))(t)
			if swept {
				w.clock.pass(steady.Quiet + w.m.policy.Retention + time.Hour)
				tickMust(w.m.Sweep(w.ctx))(t)
				tickMust(w.m.Sweep(w.ctx))(t)
			}
			if _, err := w.m.Authenticate(w.ctx, "old"); !errors.Is(err, ErrUnauthenticated) {
				t.Errorf("%s: the foreign text in the new epoch: %v", name, err)
			}
			_, err := w.m.Import(w.ctx, Grant{Subject: "ana"}, tickForeign("old"))
			if errors.Is(err, ErrNotFound) != swept {
				t.Errorf("%s, swept %v: Import: %v", name, swept, err)
			}
			if _, err := w.m.Authenticate(w.ctx, "old"); (err == nil) != (row.lives && !swept) {
				t.Errorf("%s, swept %v: the foreign text after another Import: %v", name, swept, err)
			}
			if swept {
				continue // the alias of the request ran out before
			}
			if second := request(); second.ID == first.ID || second.Existing {
				t.Errorf("%s: the request was given the token %v of before", name, second.ID)
			}
		}
	}
}

// TestFault5EveryVerbIsListed: a verb that is added without a line in tickVerbs, which the
// tests of faults 5 and 6 play, fails here.
func TestFault5EveryVerbIsListed(t *testing.T) {
	listed := map[string]bool{"VerifierFunc.Verify": true, "WithProof": true, "WithActor": true, "ActorFrom": true} // these ask no clock
	for _, v := range tickVerbs {
		name, _, _ := strings.Cut(v.name, " ")
		listed[name] = true
	}
	found := map[string]bool{}
	for _, name := range tickExported(t) {
		if found[name] = true; !listed[name] {
			t.Errorf("%s: no test asks whether it looks at the clock first", name)
		}
	}
	for name := range listed {
		if !found[name] {
			t.Errorf("%s: there is no such verb", name)
		}
	}
	for _, of := range []reflect.Type{reflect.TypeFor[*Manager](), reflect.TypeFor[*Pairs](), reflect.TypeFor[*DeviceLogin](), reflect.TypeFor[*Hold]()} {
		for n := range of.NumMethod() {
			name := of.Elem().Name() + "." + of.Method(n).Name
			switch name {
			case "Manager.Now", "Manager.Stats", "Manager.Prefix", "Pairs.Access", "Pairs.RefreshPrefix", "Hold.Context", "Hold.Token", "Hold.Release", "Hold.WarnFunc", "Hold.RotatedFunc": // they decide nothing
			default:
				if !listed[name] {
					t.Errorf("%s: no test asks whether it looks at the clock first", name)
				}
			}
		}
	}
}

// records returns all that is stored.
func (w *tickWorld) records() (all []storage.Record) {
	w.t.Helper()
	for rec, err := range w.store.Store.List(w.ctx, storage.Filter{}) {
		if err != nil {
			w.t.Fatal(err)
		}
		all = append(all, rec)
	}
	return all
}

// TestFault5EveryVerbUnderGuardStrict: once a clock that is behind has settled, every verb
// of every type answers ErrClock, and writes nothing, whichever is the first to look.
func TestFault5EveryVerbUnderGuardStrict(t *testing.T) {
	for _, v := range tickVerbs {
		if v.name == "Manager.AcceptClock" {
			continue
		}
		t.Run(v.name, func(t *testing.T) {
			w := newTickWorld(t, GuardStrict)
			w.clock.set(-2 * time.Hour)
			w.m.Peek(w.ctx, w.plain.Bearer) // who looks finds it behind; the Pairs have not looked
			w.clock.pass(defaultSettle + time.Millisecond)
			before := w.records()
			if _, err := v.do(w); !errors.Is(err, ErrClock) || errors.Is(err, ErrUnauthenticated) {
				t.Errorf("%v; want ErrClock", err)
			}
			if after := w.records(); !reflect.DeepEqual(after, before) {
				t.Errorf("it has written: %d records of %d", len(after), len(before))
			}
			w.clock.set(2 * time.Hour)
			if _, err := v.do(w); err != nil {
				t.Errorf("once the clock is right: %v", err)
			}
		})
	}
}

// TestFault5EveryVerbBeforeItSettles: until then every verb works.
func TestFault5EveryVerbBeforeItSettles(t *testing.T) {
	for _, v := range tickVerbs {
		w := newTickWorld(t, GuardStrict)
		w.clock.set(-2 * time.Hour)
		w.m.Peek(w.ctx, w.plain.Bearer)
		w.clock.pass(defaultSettle)
		if _, err := v.do(w); err != nil {
			t.Errorf("%s: %v", v.name, err)
		}
	}
}

// tickWall is a Clock with Elapsed for goroutines: pass is time that goes by, set is
// someone who sets the clock.
type tickWall struct {
	mu      sync.Mutex
	now     time.Time
	elapsed time.Duration
}

func newTickWall() *tickWall { return &tickWall{now: testInstant} }

func (c *tickWall) Now() time.Time                       { c.mu.Lock(); defer c.mu.Unlock(); return c.now }
func (c *tickWall) Elapsed() time.Duration               { c.mu.Lock(); defer c.mu.Unlock(); return c.elapsed }
func (c *tickWall) After(time.Duration) <-chan time.Time { return nil }
func (c *tickWall) set(d time.Duration)                  { c.mu.Lock(); defer c.mu.Unlock(); c.now = c.now.Add(d) }
func (c *tickWall) pass(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now, c.elapsed = c.now.Add(d), c.elapsed+d
}

// tickStore is a store in memory that calls the function which set has set before and
// after each operation, those of transactions included.
type tickStore struct {
	*memory.Store
	verbs   bool // between is called for the operations of verbs alone
	mu      sync.Mutex
	between func() // one at a time
}

// ofVerb marks the contexts of the verbs. The scheduler of held connections has contexts of its own, and its
// operations run beside those of the verb: an epoch that begins with one of them may begin at any moment.
type ofVerb struct{}

func (s *tickStore) step(ctx context.Context) {
	if s.verbs && ctx.Value(ofVerb{}) == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.between != nil {
		s.between()
	}
}

// set sets what comes between operations, and returns what did before.
func (s *tickStore) set(f func()) (before func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	before, s.between = s.between, f
	return before
}

func (s *tickStore) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	s.step(ctx)
	defer s.step(ctx)
	return s.Store.Get(ctx, id)
}

func (s *tickStore) Page(ctx context.Context, after string, n int) ([]storage.Record, string, error) {
	s.step(ctx)
	defer s.step(ctx)
	return s.Store.Page(ctx, after, n)
}

func (s *tickStore) PageFor(store storage.Store) bool { return store == storage.Store(s) }

func (s *tickStore) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	s.step(ctx)
	defer s.step(ctx)
	return s.Store.Touch(ctx, id, use)
}

func (s *tickStore) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	s.step(ctx)
	defer s.step(ctx)
	return s.Store.Sweep(ctx, before, limit)
}

func (s *tickStore) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return s.around(ctx, s.Store.List(ctx, f))
}

func (s *tickStore) around(ctx context.Context, records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		s.step(ctx)
		for rec, err := range records {
			if s.step(ctx); !yield(rec, err) {
				return
			}
		}
		s.step(ctx)
	}
}

func (s *tickStore) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	s.step(ctx)
	defer s.step(ctx)
	return s.Store.Update(ctx, subject, func(tx storage.Tx) error {
		s.step(ctx)
		defer s.step(ctx)
		return fn(&tickTx{tx, s, ctx})
	})
}

type tickTx struct {
	storage.Tx
	s   *tickStore
	ctx context.Context
}

func (x *tickTx) Get(id storage.ID) (storage.Record, error) {
	x.s.step(x.ctx)
	defer x.s.step(x.ctx)
	return x.Tx.Get(id)
}

func (x *tickTx) Put(r storage.Record) error {
	x.s.step(x.ctx)
	defer x.s.step(x.ctx)
	return x.Tx.Put(r)
}

func (x *tickTx) Records() iter.Seq2[storage.Record, error] { return x.s.around(x.ctx, x.Tx.Records()) }
func (x *tickTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return x.s.around(x.ctx, x.Tx.Living(now))
}

// tickWorld is a store with all that a verb can be asked about, and who asks.
type tickWorld struct {
	t     *testing.T
	ctx   context.Context
	clock *tickWall
	store *tickStore

	m      *Manager
	p      *Pairs
	d      *DeviceLogin
	asks   DeviceCode // which no user has decided about
	may    DeviceCode // which has been approved
	unborn ID         // of its session, which has no text
	plain  Issued
	budget Issued
	child  Issued
	again  Issued // of Obtain, with the Name "again"
	before Issued // whose text is the previous one
	pair   TokenPair
	spare  TokenPair     // which has been refreshed a moment ago
	text   map[ID]string // a text of each token
}

func newTickWorld(t *testing.T, guard ClockGuard) *tickWorld {
	t.Helper()
	ctx, release := context.WithCancel(context.WithValue(context.Background(), ofVerb{}, true))
	t.Cleanup(release)
	w := &tickWorld{t: t, ctx: ctx, clock: newTickWall(), store: &tickStore{Store: memory.New(), verbs: true}, text: map[ID]string{}}
	admit := func(context.Context, Token) error { return nil }
	foreign := func(text string) (string, []byte, bool) {
		f := tickForeign(text)
		return f.Key, f.Digest, !strings.Contains(text, "_")
	}
	cfg := Config{Clock: w.clock, ClockGuard: guard, Admit: admit, Foreign: foreign, Keys: []Key{NewKey([]byte(strings.Repeat("k", keyLen)))},
		Policy: Policy{TTL: day, MaxTTL: 30 * day, MaxTokens: 50}}
	w.m = tickMust(New(w.store, cfg))(t)
	w.p = tickMust(NewPairs(w.store, PairConfig{Access: Config{Clock: w.clock, ClockGuard: guard, Admit: admit, Prefix: "acc", Policy: Policy{TTL: day}}, Refresh: Config{Prefix: "ref"}}))(t)
	w.plain = tickMust(w.m.Issue(ctx, Grant{Subject: "ana"}))(t)
	w.budget = tickMust(w.m.Issue(ctx, Grant{Subject: "ana", MaxUses: 3}))(t)
	w.child = tickMust(w.m.Delegate(ctx, w.plain.Bearer, Grant{}))(t)
	w.pair = tickMust(w.p.Issue(ctx, Grant{Subject: "ana"}))(t)
	w.spare = tickMust(w.p.Issue(ctx, Grant{Subject: "ana"}))(t)
	w.again = tickMust(w.m.Obtain(ctx, Grant{Subject: "ana", Name: "again"}))(t)
	w.before = tickMust(w.m.Issue(ctx, Grant{Subject: "ana"}))(t)
	tickMust(w.m.Rotate(ctx, w.before.Bearer, time.Hour))(t)
	requested := tickMust(w.m.Issue(ctx, Grant{Subject: "ana", RequestID: "again"}))(t)
	w.text[requested.ID] = requested.Bearer
	w.text[tickMust(w.m.Import(ctx, Grant{Subject: "ana"}, tickForeign("old")))(t).ID] = "old"
	for _, i := range []Issued{w.plain, w.budget, w.child, w.again, w.before, w.pair.Access.Issued} {
		w.text[i.ID] = i.Bearer
	}
	w.clock.pass(10 * time.Minute) // so that a use is due
	refreshed := tickMust(w.p.Refresh(ctx, w.spare.Refresh.Bearer))(t)
	w.text[refreshed.Access.ID] = refreshed.Access.Bearer
	w.d = tickMust(NewDeviceLogin(w.p, DeviceConfig{ExpiresIn: time.Hour}))(t)
	w.asks = tickMust(w.d.Begin(ctx, DeviceRequest{}))(t)
	w.may = tickMust(w.d.Begin(ctx, DeviceRequest{}))(t)
	w.unborn = tickMust(w.d.Approve(ctx, w.may.UserCode, Grant{Subject: "ana"}))(t).ID
	return w
}

// tickForeign is the foreign token of text, as a tickWorld reads that.
func tickForeign(text string) Foreign { return Foreign{Key: text, Digest: []byte(text)} }

// use is a use by a connection of the plain token, which nothing else serves.
func (w *tickWorld) use() error {
	h := &Hold{m: w.m, token: w.plain.Token}
	h.conn.Open(w.ctx, func() {})
	return h.Use(w.ctx)
}

// tickMust returns v, or fails t.
func tickMust[T any](v T, err error) func(testing.TB) T {
	return func(t testing.TB) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// peek says whether text is good.
func (w *tickWorld) peek(text string) (err error) {
	switch prefix, _, _ := strings.Cut(text, "_"); prefix {
	case "acc":
		_, err = w.p.Access().Peek(w.ctx, text)
	case "ref":
		_, err = w.p.Peek(w.ctx, text)
	default:
		_, err = w.m.Peek(w.ctx, text)
	}
	return err
}

// list checks, as a list tells of each token, whether that is so.
func (w *tickWorld) list(list iter.Seq2[Token, error]) ([]string, error) {
	for tok, err := range list {
		if err != nil {
			return nil, err
		}
		if tok.ID == w.unborn {
			continue
		}
		between := w.store.set(nil)
		if err := w.peek(w.text[tok.ID]); tok.Live(w.m.Now()) != (err == nil) {
			w.t.Errorf("the list tells of a token that is alive: %v; and Peek says: %v", tok.Live(w.m.Now()), err)
		}
		w.store.set(between)
	}
	return nil, nil
}

// tickVerb is one call. It returns the texts that it said are good.
type tickVerb struct {
	name string // of the function or method, and after a space the special case
	do   func(w *tickWorld) (good []string, err error)
}

// tickGood returns what a verb says that returns an Issued.
func tickGood(i Issued, err error) ([]string, error) { return []string{i.Bearer}, err }

// tickSame returns what a verb says that returns a token of text.
func tickSame(text string) func(Token, error) ([]string, error) {
	return func(_ Token, err error) ([]string, error) { return []string{text}, err }
}

func tickNone[T any](_ T, err error) ([]string, error) { return nil, err }

func tickPair(c TokenPair, err error) ([]string, error) {
	return []string{c.Access.Bearer, c.Refresh.Bearer}, err
}

// tickVerbs are all verbs of this package.
var tickVerbs = []tickVerb{
	{"Manager.Issue", func(w *tickWorld) ([]string, error) { return tickGood(w.m.Issue(w.ctx, Grant{Subject: "ana"})) }},
	{"Manager.Obtain", func(w *tickWorld) ([]string, error) { return tickGood(w.m.Obtain(w.ctx, Grant{Subject: "ana"})) }},
	{"Manager.Obtain again", func(w *tickWorld) ([]string, error) {
		return tickGood(w.m.Obtain(w.ctx, Grant{Subject: "ana", Name: "again"}))
	}},
	{"Manager.Issue by a RequestID", func(w *tickWorld) ([]string, error) {
		return tickGood(w.m.Issue(w.ctx, Grant{Subject: "ana", RequestID: "new"}))
	}},
	{"Manager.Issue again by a RequestID", func(w *tickWorld) ([]string, error) {
		return tickGood(w.m.Issue(w.ctx, Grant{Subject: "ana", RequestID: "again"}))
	}},
	{"Manager.Import", func(w *tickWorld) ([]string, error) {
		return tickSame("new")(w.m.Import(w.ctx, Grant{Subject: "ana"}, tickForeign("new")))
	}},
	{"Manager.Import again", func(w *tickWorld) ([]string, error) {
		maps.DeleteFunc(w.text, func(_ ID, text string) bool { return text == "old" }) // a new epoch lets it be imported again
		return tickSame("old")(w.m.Import(w.ctx, Grant{Subject: "ana"}, tickForeign("old")))
	}},
	{"Manager.Authenticate a foreign text", func(w *tickWorld) ([]string, error) {
		return tickSame("old")(w.m.Authenticate(w.ctx, "old"))
	}},
	{"Manager.Rotate a foreign text", func(w *tickWorld) ([]string, error) { return tickGood(w.m.Rotate(w.ctx, "old", time.Hour)) }},
	{"Manager.Delegate", func(w *tickWorld) ([]string, error) { return tickGood(w.m.Delegate(w.ctx, w.plain.Bearer, Grant{})) }},
	{"Manager.Authenticate", func(w *tickWorld) ([]string, error) {
		return tickSame(w.plain.Bearer)(w.m.Authenticate(w.ctx, w.plain.Bearer))
	}},
	{"Manager.Authenticate a delegate", func(w *tickWorld) ([]string, error) {
		return tickSame(w.child.Bearer)(w.m.Authenticate(w.ctx, w.child.Bearer))
	}},
	{"Manager.Authenticate a budget", func(w *tickWorld) ([]string, error) {
		return tickSame(w.budget.Bearer)(w.m.Authenticate(w.ctx, w.budget.Bearer))
	}},
	{"Manager.Authenticate an access text", func(w *tickWorld) ([]string, error) {
		return tickSame(w.pair.Access.Bearer)(w.p.Access().Authenticate(w.ctx, w.pair.Access.Bearer))
	}},
	{"Manager.Peek", func(w *tickWorld) ([]string, error) {
		return tickSame(w.plain.Bearer)(w.m.Peek(w.ctx, w.plain.Bearer))
	}},
	{"Manager.Renew", func(w *tickWorld) ([]string, error) {
		return tickSame(w.plain.Bearer)(w.m.Renew(w.ctx, w.plain.Bearer))
	}},
	{"Manager.Confirm", func(w *tickWorld) ([]string, error) {
		return tickSame(w.plain.Bearer)(w.m.Confirm(w.ctx, w.plain.Bearer))
	}},
	{"Manager.Rotate", func(w *tickWorld) ([]string, error) { return tickGood(w.m.Rotate(w.ctx, w.plain.Bearer, 0)) }},
	{"Manager.Rotate with an overlap", func(w *tickWorld) ([]string, error) {
		return tickGood(w.m.Rotate(w.ctx, w.plain.Bearer, time.Hour))
	}},
	{"Manager.Rotate again", func(w *tickWorld) ([]string, error) {
		return tickGood(w.m.Rotate(w.ctx, w.before.Bearer, time.Hour))
	}},
	{"Manager.RotateID", func(w *tickWorld) ([]string, error) { return tickGood(w.m.RotateID(w.ctx, w.plain.ID, 0)) }},
	{"Manager.Edit", func(w *tickWorld) ([]string, error) {
		scope := "read"
		return tickSame(w.plain.Bearer)(w.m.Edit(w.ctx, w.plain.ID, Changes{Scope: &scope}))
	}},
	{"Manager.Expire", func(w *tickWorld) ([]string, error) { return tickNone(w.m.Expire(w.ctx, w.plain.ID)) }},
	{"Manager.ExpireBearer", func(w *tickWorld) ([]string, error) { return tickNone(w.m.ExpireBearer(w.ctx, w.plain.Bearer)) }},
	{"Manager.ExpireSubject", func(w *tickWorld) ([]string, error) { return tickNone(w.m.ExpireSubject(w.ctx, "ana")) }},
	{"Manager.Suspend", func(w *tickWorld) ([]string, error) { return tickNone(w.m.Suspend(w.ctx, w.plain.ID)) }},
	{"Manager.Resume", func(w *tickWorld) ([]string, error) { return tickNone(w.m.Resume(w.ctx, w.plain.ID)) }},
	{"Manager.Token", func(w *tickWorld) ([]string, error) {
		return w.list(func(yield func(Token, error) bool) { yield(w.m.Token(w.ctx, w.plain.ID)) })
	}},
	{"Manager.ForgetSubject", func(w *tickWorld) ([]string, error) { return tickNone(w.m.ForgetSubject(w.ctx, "ana")) }},
	{"Manager.List", func(w *tickWorld) ([]string, error) { return w.list(w.m.List(w.ctx, Query{})) }},
	{"Manager.List of a subject", func(w *tickWorld) ([]string, error) { return w.list(w.m.List(w.ctx, Query{Subject: "ana"})) }},
	{"Manager.List within", func(w *tickWorld) ([]string, error) { return w.list(w.m.List(w.ctx, Query{Within: NoLimit})) }},
	{"Manager.Count", func(w *tickWorld) ([]string, error) { return tickNone(w.m.Count(w.ctx, Query{Live: true})) }},
	{"Manager.Holds", func(w *tickWorld) ([]string, error) {
		h, err := w.m.Hold(context.Background(), w.plain.Bearer)
		if err == nil {
			w.t.Cleanup(h.Release)
		}
		return w.list(func(yield func(Token, error) bool) {
			for held, err := range w.m.Holds(w.ctx) {
				yield(held.Token, err)
			}
		})
	}},
	{"Manager.Watch", func(w *tickWorld) ([]string, error) {
		return w.list(func(yield func(Token, error) bool) {
			for change, err := range w.m.Watch(w.ctx, Query{}) {
				if err != nil || !change.Gap {
					yield(change.Token, err)
					return
				}
				w.store.Store.Update(w.ctx, "ana", func(tx storage.Tx) error { // as any writer does
					rec, err := tx.Get(w.plain.ID)
					if err == nil {
						err = tx.Put(rec)
					}
					return err
				})
			}
		})
	}},
	{"Manager.Sweep", func(w *tickWorld) ([]string, error) { return tickNone(w.m.Sweep(w.ctx)) }},
	{"Manager.AcceptClock", func(w *tickWorld) ([]string, error) { return nil, w.m.AcceptClock(w.ctx) }},
	{"Login", func(w *tickWorld) ([]string, error) {
		return tickGood(Login(w.ctx, w.m, "ana", Grant{}, Verifier[string](tickKnows)))
	}},
	{"Identify", func(w *tickWorld) ([]string, error) {
		return tickNone(Identify(w.ctx, w.m, "ana", Verifier[string](tickKnows)))
	}},
	{"Pairs.Issue", func(w *tickWorld) ([]string, error) { return tickPair(w.p.Issue(w.ctx, Grant{Subject: "ana"})) }},
	{"Pairs.Refresh", func(w *tickWorld) ([]string, error) { return tickPair(w.p.Refresh(w.ctx, w.pair.Refresh.Bearer)) }},
	{"Pairs.Peek", func(w *tickWorld) ([]string, error) {
		return tickSame(w.pair.Refresh.Bearer)(w.p.Peek(w.ctx, w.pair.Refresh.Bearer))
	}},
	{"Pairs.Sessions", func(w *tickWorld) ([]string, error) { return w.list(w.p.Sessions(w.ctx, "ana")) }},
	{"Pairs.ExpireBearer", func(w *tickWorld) ([]string, error) {
		return tickNone(w.p.ExpireBearer(w.ctx, w.pair.Refresh.Bearer))
	}},
	{"Pairs.ExpireBearer an access text", func(w *tickWorld) ([]string, error) {
		return tickNone(w.p.ExpireBearer(w.ctx, w.pair.Access.Bearer))
	}},
	{"DeviceLogin.Begin", func(w *tickWorld) ([]string, error) { return tickNone(w.d.Begin(w.ctx, DeviceRequest{})) }},
	{"DeviceLogin.Lookup", func(w *tickWorld) ([]string, error) { return tickNone(w.d.Lookup(w.ctx, w.asks.UserCode, "ana")) }},
	{"DeviceLogin.Approve", func(w *tickWorld) ([]string, error) {
		return tickNone(w.d.Approve(w.ctx, w.asks.UserCode, Grant{Subject: "ana"}))
	}},
	{"DeviceLogin.Deny", func(w *tickWorld) ([]string, error) { return nil, w.d.Deny(w.ctx, w.asks.UserCode, "ana") }},
	{"DeviceLogin.Poll", func(w *tickWorld) ([]string, error) { return tickPair(w.d.Poll(w.ctx, w.may.Code, "")) }},
	{"DeviceLogin.Await", func(w *tickWorld) ([]string, error) { return tickPair(w.d.Await(w.ctx, w.may.Code, "")) }},
	{"Manager.Hold", func(w *tickWorld) ([]string, error) { return nil, w.hold(w.plain.Bearer) }},
	{"Hold.Use", func(w *tickWorld) ([]string, error) { return []string{w.plain.Bearer}, w.use() }},
	{"Manager.Hold a budget", func(w *tickWorld) ([]string, error) { return nil, w.hold(w.budget.Bearer) }},
}

// tickRepeat is Refresh within the grace, which a test that passes time does not play.
var tickRepeat = tickVerb{"Pairs.Refresh again", func(w *tickWorld) ([]string, error) {
	return tickPair(w.p.Refresh(w.ctx, w.spare.Refresh.Bearer))
}}

// hold waits until what it holds is cut, if an epoch has begun, or else the test hangs.
func (w *tickWorld) hold(text string) error {
	h, err := w.m.Hold(w.ctx, text)
	if err == nil && w.store.Marks().Epoch() > 0 {
		<-h.Context().Done()
	}
	return err
}

// tickKnows believes what it is told.
var tickKnows = VerifierFunc[string](func(_ context.Context, name string) (string, error) { return name, nil })
