package lapse

import (
	"context"
	"errors"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

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
			for tok, failed := range g.Tokens(t.Context(), "ana") {
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
