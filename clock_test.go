package lapse

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
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
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// What satisfies Clock as it is: the mock and the real clock of the ecosystem's
// package, and anybody's own few lines.
var (
	_ Clock = (*clock.Mock)(nil)
	_ Clock = clock.New()
	_ Clock = fixedClock{}
	_ Clock = steady.NewSystem()
)

// fixedClock stands still, and is one of those own few lines.
type fixedClock struct{ t time.Time }

func (c fixedClock) Now() time.Time                       { return c.t }
func (c fixedClock) After(time.Duration) <-chan time.Time { return nil }

func TestNormalise(t *testing.T) {
	const first, last = "0001-01-01T00:00:00.001Z", "9999-12-31T23:59:59.999Z"
	date := func(year, nano int) time.Time { return time.Date(year, 6, 1, 12, 0, 0, nano, time.UTC) }
	local := time.FixedZone("", -(9*3600 + 30*60))
	for _, tt := range []struct {
		name  string
		given time.Time
		want  string
	}{
		{"as it is", testInstant, "2026-02-28T12:00:00Z"},
		{"whole milliseconds stay", date(2026, 123e6), "2026-06-01T12:00:00.123Z"},
		{"1 ns more rounds down", date(2026, 123e6+1), "2026-06-01T12:00:00.123Z"},
		{"1 ns less than the next rounds down", date(2026, 124e6-1), "2026-06-01T12:00:00.123Z"},
		{"1 ns less than a second rounds down", date(2026, 1e9-1), "2026-06-01T12:00:00.999Z"},
		{"another zone", time.Date(2026, 6, 1, 12, 0, 0, 0, local), "2026-06-01T21:30:00Z"},
		{"before 1970 rounds down, not towards zero", time.Unix(0, -1), "1969-12-31T23:59:59.999Z"},
		{"before 1970, 1 ns after a millisecond", time.Unix(0, -1e6+1), "1969-12-31T23:59:59.999Z"},
		{"before 1970, 1 ns before a millisecond", time.Unix(0, -1e6-1), "1969-12-31T23:59:59.998Z"},
		{"1970", time.Unix(0, 0), "1970-01-01T00:00:00Z"},
		{"year 1", date(1, 0), "0001-06-01T12:00:00Z"},
		{"the zero Time is the first instant, for zero means not set", time.Time{}, first},
		{"1 ms after the zero Time", time.Time{}.Add(time.Millisecond), first},
		{"2 ms after the zero Time", time.Time{}.Add(2 * time.Millisecond), "0001-01-01T00:00:00.002Z"},
		{"1 ns before the zero Time", time.Time{}.Add(-1), first},
		{"the zero Time in a zone where it is year 0", time.Time{}.In(local), first},
		{"year 0", date(0, 0), first},
		{"year -1", date(-1, 0), first},
		{"year -1,000,000", date(-1_000_000, 0), first},
		{"year 2300", date(2300, 0), "2300-06-01T12:00:00Z"},
		{"year 9999", date(9999, 0), "9999-06-01T12:00:00Z"},
		{"the last instant", time.Date(9999, 12, 31, 23, 59, 59, 1e9-1, time.UTC), last},
		{"1 ns after it", time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), last},
		{"year 10000 in a zone where it is 9999", time.Date(9999, 12, 31, 23, 59, 59, 0, local), last},
		{"year 10000", date(10000, 0), last},
		{"year 1,000,000", date(1_000_000, 0), last},
		{"beyond what Unix milliseconds can say", time.Unix(math.MaxInt64/1000+1, 0), last},
		{"before what Unix milliseconds can say", time.Unix(math.MinInt64/1000-1, 0), first},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m := &Manager{clock: fixedClock{tt.given}}
			got := m.now()
			if text := got.Format(time.RFC3339Nano); text != tt.want {
				t.Errorf("now = %s, want %s", text, tt.want)
			}
			if again := steady.Normalise(got); again != got {
				t.Errorf("normalising again makes %v of %v", again, got)
			}
		})
	}
}

// TestNormaliseStripsTheMonotonicReading: with it, a suspended machine would
// lengthen a life. Two such instants also compare with ==.
func TestNormaliseStripsTheMonotonicReading(t *testing.T) {
	given := time.Now()
	if !strings.Contains(given.String(), "m=") {
		t.Fatalf("%v has no monotonic reading, so nothing is tested", given)
	}
	got := steady.Normalise(given)
	if want := time.UnixMilli(given.UnixMilli()).UTC(); got != want {
		t.Errorf("normalise = %v, want %v", got, want)
	}
	if strings.Contains(got.String(), "m=") || got.Location() != time.UTC {
		t.Errorf("normalise = %v", got)
	}
}

// TestEveryInstantIsNormalised: whatever the clock says, each instant of a token
// went through normalise, in what is returned and in what is stored.
func TestEveryInstantIsNormalised(t *testing.T) {
	store := newTallyStore()
	at := testInstant.Add(123_456_789).In(time.FixedZone("", 5*3600+45*60))
	m, _ := managerOver(t, store, Config{Clock: fixedClock{at}, Policy: Policy{TTL: time.Hour + 999, MaxTTL: day + 999}})
	issued := issueTo(t, m, Grant{Subject: "ana", TTL: time.Minute + 999_999})
	if want := at.Truncate(time.Millisecond).Add(time.Minute).UTC(); issued.ExpiresAt != want {
		t.Errorf("expiry = %v, want %v", issued.ExpiresAt, want)
	}
	used, err := m.Authenticate(t.Context(), issued.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	ended, err := m.ExpireBearer(t.Context(), issued.Bearer)
	if err != nil {
		t.Fatal(err)
	}
	rec, err := store.Get(t.Context(), issued.ID)
	if err != nil {
		t.Fatal(err)
	}
	for name, tok := range map[string]Token{"issued": issued.Token, "used": used, "ended": ended, "stored": rec.Token} {
		for _, at := range []time.Time{tok.IssuedAt, tok.LastUsedAt, tok.ExpiresAt, tok.MaxExpiresAt, tok.EndedAt} {
			if !at.IsZero() && at != time.UnixMilli(at.UnixMilli()).UTC() {
				t.Errorf("%s: %v went past normalise", name, at)
			}
		}
	}
}

// TestTheClockTurnsDead: the life of a token in nanoseconds of a clock that is trusted,
// and of one that is not to go back.
func TestTheClockTurnsDead(t *testing.T) {
	for guard, revived := range map[ClockGuard]error{GuardOff: nil, GuardDefault: ErrExpired, GuardStrict: ErrExpired} {
		m, mock := managerOver(t, memory.New(), Config{Policy: Policy{TTL: time.Hour, Renewal: RenewNever}, ClockGuard: guard})
		issued := issueTo(t, m, Grant{Subject: "ana"})
		for _, tt := range []struct {
			at   time.Duration
			want error
		}{
			{-time.Hour, nil}, // before it was issued: the clock stepped back, nobody is logged out
			{time.Hour - time.Millisecond, nil},
			{time.Hour - 1, nil},
			{time.Hour, ErrExpired},
			{time.Hour + 1, ErrExpired},
			{time.Hour + time.Millisecond, ErrExpired},
			{-time.Hour, revived},
			{100 * 365 * day, ErrExpired},
			{30 * time.Minute, revived}, // seeing it dead wrote nothing
		} {
			mock.Set(after(tt.at))
			if _, err := m.Authenticate(t.Context(), issued.Bearer); !errors.Is(err, tt.want) {
				t.Errorf("guard %d: Authenticate at %v = %v, want %v", guard, tt.at, err, tt.want)
			}
		}
	}
}

// TestSystemClock: no Clock means the real one, which in a synctest bubble is the
// bubble's.
func TestSystemClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m, err := New(memory.New(), Config{Policy: Policy{Renewal: RenewNever}})
		if err != nil {
			t.Fatal(err)
		}
		issued := issueTo(t, m, Grant{Subject: "ana"})
		if !issued.IssuedAt.Equal(time.Now().Truncate(time.Millisecond)) {
			t.Errorf("issued at %v, now it is %v", issued.IssuedAt, time.Now())
		}
		<-m.clock.After(30*time.Minute - 1)
		if _, err := m.Peek(t.Context(), issued.Bearer); err != nil {
			t.Errorf("1 ns before its end: %v", err)
		}
		<-m.clock.After(1)
		if _, err := m.Peek(t.Context(), issued.Bearer); !errors.Is(err, ErrExpired) {
			t.Errorf("at its end: %v, want ErrExpired", err)
		}
	})
}

// TestNewRefusesNil, also a nil pointer inside an interface, which would only
// panic at the first token.
func TestNewRefusesNil(t *testing.T) {
	good := memory.New()
	for _, tt := range []struct {
		name  string
		store storage.Store
		clock Clock
		says  string
	}{
		{"nil store", nil, nil, "store is nil"},
		{"nil *memory.Store", (*memory.Store)(nil), nil, "store is nil"},
		{"nil *clock.Mock", good, (*clock.Mock)(nil), "Clock is a nil *clock.Mock"},
		{"nil store and nil clock", nil, (*clock.Mock)(nil), "store is nil"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			m, err := New(tt.store, Config{Clock: tt.clock})
			if m != nil || !errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("New = %v, %v, want nil, ErrInvalidConfig that says %q", m, err, tt.says)
			}
		})
	}
	for name, c := range map[string]Clock{"none": nil, "a value": fixedClock{}, "a mock": clock.NewMock(), "real": clock.New()} {
		if m, err := New(good, Config{Clock: c}); m == nil || err != nil {
			t.Errorf("%s: New = %v, %v", name, m, err)
		}
	}
}

// atomicClock says what it was set to.
type atomicClock struct{ milli atomic.Int64 }

func (c *atomicClock) Now() time.Time                       { return time.UnixMilli(c.milli.Load()) }
func (c *atomicClock) After(time.Duration) <-chan time.Time { return nil }

// TestEpochsAndTime has the clock accepted an hour earlier again and again, while others
// ask two things: a stamp never has the epoch of one hour and the time of another, or its
// token would live by the wrong clock, or not at all; and who reads the time and the epoch then,
// as verbs do, never judges a token of before by the time of after.
func TestEpochsAndTime(t *testing.T) {
	const epochs = 1_000
	clock := new(atomicClock)
	hour := func(epoch uint32) int64 {
		return testInstant.UnixMilli() - int64(epoch)*time.Hour.Milliseconds()
	}
	clock.milli.Store(hour(0))
	store := memory.New()
	var managers []*Manager
	for range 2 {
		m, err := New(store, Config{Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		managers = append(managers, m)
	}
	managers[0].now()
	var others sync.WaitGroup
	var done atomic.Bool
	for n := range 4 {
		m := managers[n%2]
		others.Go(func() {
			for !done.Load() {
				if now, epoch := m.stamp(); now.UnixMilli() != hour(epoch) {
					t.Errorf("a stamp of epoch %d has the time of another: %v", epoch, now)
					return
				}
				if now, epoch := m.now().UnixMilli(), m.marks.Epoch(); now < hour(epoch) {
					t.Errorf("time %v is of a later epoch than %d", now, epoch)
					return
				}
			}
		})
	}
	for n := range uint32(epochs) {
		clock.milli.Store(hour(n + 1))
		managers[n%2].AcceptClock(context.Background())
	}
	done.Store(true)
	others.Wait()
	if got := store.Marks().Epoch(); got != epochs {
		t.Errorf("epoch %d; want %d", got, epochs)
	}
}

// TestTimeNeverGoesBack: among goroutines and Managers on one store, with a clock that
// jumps to and fro.
func TestTimeNeverGoesBack(t *testing.T) {
	clock := new(atomicClock)
	clock.milli.Store(testInstant.UnixMilli())
	store := memory.New()
	var latest atomic.Int64
	var all sync.WaitGroup
	for n := range 4 {
		m, err := New(store, Config{Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		all.Go(func() {
			for i := range int64(20_000) {
				before := latest.Load()
				now := m.now().UnixMilli()
				if now < before {
					t.Errorf("%d after a reader has seen %d", now, before)
					return
				}
				for seen := latest.Load(); seen < now && !latest.CompareAndSwap(seen, now); seen = latest.Load() {
				}
				clock.milli.Store(testInstant.UnixMilli() + (i*int64(n+7))%1000)
			}
		})
	}
	all.Wait()
}

// bubbleClock is a synctest bubble's time, with a wall clock that can be set.
type bubbleClock struct {
	start time.Time
	off   atomic.Int64
}

func (c *bubbleClock) Now() time.Time                         { return time.Now().Add(time.Duration(c.off.Load())) }
func (c *bubbleClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (c *bubbleClock) Elapsed() time.Duration                 { return time.Since(c.start) }

// TestHoldsAreCutByTheClock: with no call except the held connection, on any of the
// Managers of a store.
func TestHoldsAreCutByTheClock(t *testing.T) {
	for guard, cut := range map[ClockGuard]bool{GuardDefault: true, GuardStrict: false} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(30 * 365 * day) // or the bubble is in 2000, which no clock is taken for right in
			clock, store := &bubbleClock{start: time.Now()}, memory.New()
			ctx, release := context.WithCancel(context.Background())
			defer release()
			var held []context.Context
			for range 2 {
				m, err := New(store, Config{Clock: clock, ClockGuard: guard, Policy: Policy{TTL: 30 * day}})
				if err != nil {
					t.Fatal(err)
				}
				h, _, err := opened(m.Hold(ctx, issueTo(t, m, Grant{Subject: "ana"}).Bearer))
				if err != nil {
					t.Fatal(err)
				}
				held = append(held, h)
			}
			clock.off.Add(int64(-2 * time.Hour))
			time.Sleep(defaultSettle - time.Second)
			if held[0].Err() != nil || held[1].Err() != nil {
				t.Fatal("cut before it has settled")
			}
			time.Sleep(6 * hold.WakeEvery) // it is noticed, judged, told and looked at, each at one of them
			for _, h := range held {
				var why *Rejection
				if got := errors.As(context.Cause(h), &why) && why.Reason == EndClock; got != cut {
					t.Errorf("guard %d: cut %v, by %v; want %v", guard, got, context.Cause(h), cut)
				}
			}
		})
	}
}

// guarded is a Manager on a machine and a disk.
type guarded struct {
	*Manager
	t       *testing.T
	machine *machine
	disk    *disk
	cfg     Config
	events  []Event
}

func newGuarded(t *testing.T, cfg Config) *guarded {
	g := &guarded{t: t, machine: newMachine(), disk: newDisk(), cfg: cfg}
	g.Manager = g.open()
	return g
}

func (g *guarded) open() *Manager {
	g.t.Helper()
	cfg := g.cfg
	cfg.Clock, cfg.Observe = g.machine, func(_ context.Context, e Event) { g.events = append(g.events, e) }
	m, err := New(g.disk, cfg)
	if err != nil {
		g.t.Fatal(err)
	}
	return m
}

func (g *guarded) logIn() string { return issueTo(g.t, g.Manager, Grant{Subject: "ana"}).Bearer }

// tells checks what Peek says of a bearer.
func (g *guarded) tells(when, bearer string, want error) {
	g.t.Helper()
	if _, err := g.Peek(g.t.Context(), bearer); !errors.Is(err, want) {
		g.t.Errorf("%s: %v; want %v", when, err, want)
	}
}

// settle is so long that a clock that is behind counts as right.
func (g *guarded) settle() {
	g.Peek(g.t.Context(), credentialOf(1).Text("lapse")) // a look
	g.machine.pass(defaultSettle + time.Millisecond)
	g.now()
}

func (g *guarded) discontinuities() (n int) {
	for _, e := range g.events {
		if e.Kind == EventClock {
			n++
		}
	}
	return n
}

// TestDiscontinuity: Now goes back to the clock, tokens of before end, in every verb and list, an event
// says so, a new one is good, and a sweep after a day writes the ends down.
func TestDiscontinuity(t *testing.T) {
	g := newGuarded(t, Config{Policy: Policy{TTL: 30 * day, MaxTTL: NoLimit}})
	old := issueTo(t, g.Manager, Grant{Subject: "ana"})
	g.machine.off -= 2 * time.Hour
	g.tells("before it has settled", old.Bearer, nil)
	before := g.Now()
	g.settle()
	at := steady.Normalise(g.machine.Now())
	_, err := g.Authenticate(t.Context(), old.Bearer)
	var why *Rejection
	if !errors.As(err, &why) || why.Reason != EndClock || !errors.Is(err, ErrRevoked) {
		t.Fatalf("Authenticate of a token from before: %v", err)
	}
	if now := g.Now(); !now.Before(before) || now.Before(at) {
		t.Errorf("Now: %v, then %v; want the clock, which is earlier", before, now)
	}
	if n := g.discontinuities(); n != 1 {
		t.Errorf("%d events; want 1", n)
	}
	tok, err := g.Token(t.Context(), old.ID)
	if err != nil || tok.EndReason != EndClock || tok.EndedAt.Before(at) {
		t.Errorf("Token: %+v, %v", tok, err)
	}
	if ended, err := g.Expire(t.Context(), old.ID); ended || err != nil {
		t.Errorf("Expire: %v, %v; it has been ended already", ended, err)
	}
	if n, err := g.ExpireSubject(t.Context(), "ana"); n != 0 || err != nil {
		t.Errorf("ExpireSubject ended %d, %v", n, err)
	}
	if _, err := g.Renew(t.Context(), old.Bearer); !errors.Is(err, ErrRevoked) {
		t.Errorf("Renew: %v", err)
	}
	if _, err := g.Delegate(t.Context(), old.Bearer, Grant{}); !errors.Is(err, ErrRevoked) {
		t.Errorf("Delegate: %v", err)
	}
	g.tells("a new token", g.logIn(), nil)
	g.machine.pass(steady.Quiet - time.Minute)
	if n, err := g.Sweep(t.Context()); n != 0 || err != nil {
		t.Errorf("Sweep within a day deleted %d, %v", n, err)
	}
	g.machine.pass(2 * time.Minute)
	if n, err := g.Sweep(t.Context()); n != 1 || err != nil {
		t.Errorf("Sweep after a day deleted %d, %v; want the token that was ended", n, err)
	}
}

// notForeign is a Config.Foreign that knows no text.
func notForeign(string) (string, []byte, bool) { return "", nil, false }

// TestStrict: once a clock that is behind has settled, every verb says so, in no words
// that end any token, until it is right or accepted.
func TestStrict(t *testing.T) {
	g := newGuarded(t, Config{ClockGuard: GuardStrict, Policy: Policy{TTL: 30 * day, MaxTTL: NoLimit}, Foreign: notForeign, Keys: []Key{NewKey(bytes.Repeat([]byte{1}, keyLen))}})
	i := issueTo(t, g.Manager, Grant{Subject: "ana"})
	g.machine.off -= 2 * time.Hour
	g.settle()
	ctx := t.Context()
	verbs := map[string]func() error{
		"Issue":         func() error { _, err := g.Issue(ctx, Grant{Subject: "ana"}); return err },
		"Authenticate":  func() error { _, err := g.Authenticate(ctx, i.Bearer); return err },
		"Peek":          func() error { _, err := g.Peek(ctx, i.Bearer); return err },
		"Renew":         func() error { _, err := g.Renew(ctx, i.Bearer); return err },
		"Confirm":       func() error { _, err := g.Confirm(ctx, i.Bearer); return err },
		"Delegate":      func() error { _, err := g.Delegate(ctx, i.Bearer, Grant{}); return err },
		"Expire":        func() error { _, err := g.Expire(ctx, i.ID); return err },
		"Suspend":       func() error { _, err := g.Suspend(ctx, i.ID); return err },
		"Resume":        func() error { _, err := g.Resume(ctx, i.ID); return err },
		"ExpireBearer":  func() error { _, err := g.ExpireBearer(ctx, i.Bearer); return err },
		"ExpireSubject": func() error { _, err := g.ExpireSubject(ctx, "ana"); return err },
		"Token":         func() error { _, err := g.Token(ctx, i.ID); return err },
		"ForgetSubject": func() error { _, err := g.ForgetSubject(ctx, "ana"); return err },
		"List": func() (err error) {
			for _, err = range g.List(ctx, Query{Within: time.Hour}) {
			}
			return err
		},
		"Count": func() error { _, err := g.Count(ctx, Query{}); return err },
		"Holds": func() (err error) {
			for _, err = range g.Holds(ctx) {
			}
			return err
		},
		"Watch": func() (err error) {
			for _, err = range g.Watch(ctx, Query{}) {
				break
			}
			return err
		},
		"Sweep":    func() error { _, err := g.Sweep(ctx); return err },
		"Import":   func() error { _, err := g.Import(ctx, Grant{Subject: "ana"}, tickForeign("old")); return err },
		"Obtain":   func() error { _, err := g.Obtain(ctx, Grant{Subject: "ana"}); return err },
		"Rotate":   func() error { _, err := g.Rotate(ctx, i.Bearer, 0); return err },
		"RotateID": func() error { _, err := g.RotateID(ctx, i.ID, 0); return err },
		"Edit":     func() error { _, err := g.Edit(ctx, i.ID, Changes{}); return err },
	}
	for name, verb := range verbs {
		if err := verb(); !errors.Is(err, ErrClock) || errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %v; want ErrClock", name, err)
		}
	}
	for n := range reflect.TypeFor[*Manager]().NumMethod() {
		if name := reflect.TypeFor[*Manager]().Method(n).Name; verbs[name] == nil && name != "AcceptClock" && name != "Hold" && name != "Now" && name != "Stats" && name != "Prefix" {
			t.Errorf("%s: no test has looked whether it asks about the clock first", name)
		}
	}
	g.machine.off = 0
	g.tells("once the clock is right", i.Bearer, nil)
	g.machine.off -= 2 * time.Hour
	g.settle()
	g.tells("behind again", i.Bearer, ErrClock)
	if err := g.AcceptClock(ctx); err != nil {
		t.Fatal(err)
	}
	g.tells("once it is accepted", i.Bearer, ErrRevoked)
	g.tells("a new token", g.logIn(), nil)
	if n := g.discontinuities(); n != 1 {
		t.Errorf("%d events; want 1", n)
	}
}

// TestStrictPairs is that for the verbs of Pairs.
func TestStrictPairs(t *testing.T) {
	machine, ctx := newMachine(), t.Context()
	p, err := NewPairs(newDisk(), PairConfig{Access: Config{Clock: machine, ClockGuard: GuardStrict}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Issue(ctx, Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	machine.off -= 2 * time.Hour
	for range 2 { // verbs look at the clock, and it settles
		p.Peek(ctx, c.Refresh.Bearer)
		p.Access().Peek(ctx, c.Access.Bearer)
		machine.pass(defaultSettle + time.Millisecond)
	}
	verbs := map[string]func() error{
		"Issue":        func() error { _, err := p.Issue(ctx, Grant{Subject: "ana"}); return err },
		"Refresh":      func() error { _, err := p.Refresh(ctx, c.Refresh.Bearer); return err },
		"Peek":         func() error { _, err := p.Peek(ctx, c.Refresh.Bearer); return err },
		"ExpireBearer": func() error { return loggedOut(p.ExpireBearer(ctx, c.Refresh.Bearer)) },
		"Sessions": func() (err error) {
			for _, err = range p.Sessions(ctx, "ana") {
			}
			return err
		},
	}
	for name, verb := range verbs {
		if err := verb(); !errors.Is(err, ErrClock) || errors.Is(err, ErrUnauthenticated) {
			t.Errorf("%s: %v; want ErrClock", name, err)
		}
	}
	for n := range reflect.TypeFor[*Pairs]().NumMethod() {
		if name := reflect.TypeFor[*Pairs]().Method(n).Name; verbs[name] == nil && name != "Access" && name != "RefreshPrefix" {
			t.Errorf("%s: no row here tries whether it asks about the clock first", name)
		}
	}
	if err := loggedOut(p.ExpireBearer(ctx, c.Access.Bearer)); !errors.Is(err, ErrClock) {
		t.Errorf("Expire by an access text: %v; want ErrClock", err)
	}
	machine.off = 0
	if _, err := p.Refresh(ctx, c.Refresh.Bearer); err != nil {
		t.Errorf("once the clock is right: %v", err)
	}
}

// TestStrictHold is that for Hold, whose goroutines may look at the clock for a moment
// longer: no call moves it after that.
func TestStrictHold(t *testing.T) {
	g := newGuarded(t, Config{ClockGuard: GuardStrict})
	i := issueTo(t, g.Manager, Grant{Subject: "ana"})
	g.machine.off -= 2 * time.Hour
	g.settle()
	if held, _, err := opened(g.Hold(t.Context(), i.Bearer)); !errors.Is(err, ErrClock) || errors.Is(err, ErrUnauthenticated) || held.Err() == nil {
		t.Errorf("Hold: %v, %v; want ErrClock, and a context that has ended", err, held.Err())
	}
}

// TestAcceptClock ends nothing where the clock is not behind by more than the tolerance,
// which time is by now and then.
func TestAcceptClock(t *testing.T) {
	for name, row := range map[string]struct {
		guard ClockGuard
		off   time.Duration
		ends  bool
	}{
		"right":                   {GuardDefault, 0, false},
		"ahead":                   {GuardDefault, time.Hour, false},
		"behind by the tolerance": {GuardDefault, -defaultTolerance, false},
		"behind by more":          {GuardDefault, -defaultTolerance - time.Millisecond, true},
		"in 1970":                 {GuardStrict, -56 * 365 * day, true},
		"off":                     {GuardOff, -time.Hour, false},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t, Config{ClockGuard: row.guard, Policy: Policy{TTL: 2 * time.Hour}})
			bearer := g.logIn()
			g.machine.off += row.off
			if err := g.AcceptClock(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := map[bool]error{true: ErrRevoked}[row.ends]
			g.tells("a token from before", bearer, want)
			if ended := g.discontinuities() == 1; ended != row.ends {
				t.Errorf("an event: %v; want %v", ended, row.ends)
			}
		})
	}
	g := newGuarded(t, Config{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := g.AcceptClock(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// TestEpochsAreForEveryGuard: what the clock has ended stays so for a Manager that
// trusts the clock, and what that one issues is good for the others.
func TestEpochsAreForEveryGuard(t *testing.T) {
	g := newGuarded(t, Config{})
	old := g.logIn()
	g.machine.off -= 2 * time.Hour
	g.settle()
	g.tells("under the guard", old, ErrRevoked)
	off, err := New(g.disk, Config{Clock: g.machine, ClockGuard: GuardOff})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := off.Peek(t.Context(), old); !errors.Is(err, ErrRevoked) {
		t.Errorf("with GuardOff: %v; want ErrRevoked", err)
	}
	g.tells("a token by GuardOff", issueTo(t, off, Grant{Subject: "bob"}).Bearer, nil)
}

// TestClockWithoutElapsed: time waits for it, whatever an earlier run has found out.
func TestClockWithoutElapsed(t *testing.T) {
	d := newDisk()
	d.written = storage.Mark{At: testInstant.Add(time.Hour), Behind: testInstant.Add(-time.Hour)}
	d.reopen()
	for _, at := range []time.Duration{0, time.Minute, -day, time.Hour - time.Millisecond, time.Hour, 2 * time.Hour, 0} {
		m, err := New(d, Config{Clock: fixedClock{testInstant.Add(at)}})
		if err != nil {
			t.Fatal(err)
		}
		before := d.marks.Mark()
		if now := m.now(); now.Before(before.At) || now.Before(testInstant.Add(at)) || d.marks.Epoch() != 0 {
			t.Errorf("at %v: time is %v in epoch %d, after %v", at, now, d.marks.Epoch(), before.At)
		}
	}
}

// TestGuardNeedsMarks: without them time never goes back, and no verb can end what was
// issued before: GuardStrict, which would have to wait for that, is refused.
func TestGuardNeedsMarks(t *testing.T) {
	bare := struct{ storage.Store }{newDisk()}
	if _, err := New(bare, Config{ClockGuard: GuardStrict}); !errors.Is(err, ErrInvalidConfig) {
		t.Errorf("New with GuardStrict: %v; want ErrInvalidConfig", err)
	}
	c := newMachine()
	m, err := New(bare, Config{Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	bearer := issueTo(t, m, Grant{Subject: "ana"}).Bearer
	c.off -= 2 * time.Hour
	for range 3 {
		if _, err := m.Peek(t.Context(), bearer); err != nil {
			t.Errorf("with the clock behind: %v", err)
		}
		c.pass(9 * time.Minute)
	}
	if m.AcceptClock(t.Context()); m.marks.Epoch() != 0 {
		t.Error("it has begun an epoch that no other Manager knows of")
	}
	c.pass(4 * time.Minute)
	if _, err := m.Peek(t.Context(), bearer); !errors.Is(err, ErrExpired) {
		t.Errorf("after 31 minutes: %v; want ErrExpired", err)
	}
}

// TestTimeIsAsFastAsWhatElapses: a wall clock that stands still, or is set back a little
// all the time, slows nothing down.
func TestTimeIsAsFastAsWhatElapses(t *testing.T) {
	for name, steps := range map[string]func(c *machine){
		"frozen":   func(c *machine) { c.off -= 50 * time.Millisecond },
		"set back": func(c *machine) { c.off -= 51 * time.Millisecond },
	} {
		for _, guard := range realGuards {
			c := newMachine()
			m, err := New(newDisk(), Config{Clock: guard.clock(c)})
			if err != nil {
				t.Fatal(err)
			}
			begun := m.now()
			for range 60 * 20 {
				c.pass(50 * time.Millisecond)
				steps(c)
				if got := m.now().Sub(begun); got < c.truth-time.Millisecond || got > c.truth {
					t.Fatalf("%s, %s: %v have passed, and time says %v", name, guard.name, c.truth, got)
				}
			}
		}
	}
}

// TestSuspendIsTime: what the machine slept counts at the first call, by its own account
// or by the clock's.
func TestSuspendIsTime(t *testing.T) {
	for name, c := range map[string]*machine{
		"it tells, the clock was set back": {begun: testInstant, tells: true, zone: time.UTC, off: -8 * time.Hour},
		"the clock tells":                  {begun: testInstant, zone: time.UTC},
	} {
		off := c.off
		c.off = 0
		m, err := New(newDisk(), Config{Clock: c, Policy: Policy{TTL: time.Hour}})
		if err != nil {
			t.Fatal(err)
		}
		i := issueTo(t, m, Grant{Subject: "ana"})
		c.sleep(8 * time.Hour)
		c.off = off
		if _, err := m.Authenticate(t.Context(), i.Bearer); !errors.Is(err, ErrExpired) {
			t.Errorf("%s: %v; want ErrExpired", name, err)
		}
		if tok, err := m.Token(t.Context(), i.ID); err != nil || !tok.ExpiresAt.Equal(i.ExpiresAt) {
			t.Errorf("%s: it was renewed: %v, %v", name, tok, err)
		}
	}
}

// TestWildReadings: one reading that cannot be moves nothing, and neither panics nor
// ends any token.
func TestWildReadings(t *testing.T) {
	for name, wild := range map[string]time.Time{
		"the zero time": {}, "year -1": time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC), "1601": time.Date(1601, 1, 1, 0, 0, 0, 0, time.UTC),
		"1970": time.Unix(0, 0), "2000": time.Date(2000, 12, 31, 23, 59, 59, 0, time.UTC), "2200": time.Date(2200, 1, 1, 0, 0, 0, 0, time.UTC),
		"2262, where nanoseconds end": time.Unix(0, math.MaxInt64), "9999": time.Date(9999, 12, 31, 23, 59, 59, 999_999_999, time.UTC),
		"10000": time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC), "the end of time": time.Unix(math.MaxInt64, 0), "its beginning": time.Unix(math.MinInt64, 0),
	} {
		t.Run(name, func(t *testing.T) {
			wall := &wallClock{machine: newMachine()}
			disk := newDisk()
			m, err := New(disk, Config{Clock: wall, Policy: Policy{TTL: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			i := issueTo(t, m, Grant{Subject: "ana"})
			wall.says = wild
			for range 3 {
				wall.pass(20 * time.Minute)
				m.Sweep(t.Context())
				if _, err := m.Authenticate(t.Context(), i.Bearer); err != nil {
					t.Fatalf("meanwhile: %v", err)
				}
				if _, err := m.Peek(t.Context(), issueTo(t, m, Grant{Subject: "bob"}).Bearer); err != nil {
					t.Fatalf("who logs in meanwhile: %v", err)
				}
			}
			if mark := disk.marks.Mark(); mark.At.Sub(wall.machine.Now()) > 0 || mark.Epoch != 0 {
				t.Errorf("the mark: %+v", mark)
			}
			wall.says = time.Time{}.Add(-1)
			if wall.says = testInstant.Add(wall.truth); m.now().Sub(wall.says) > 0 {
				t.Errorf("right again: %v, and it is %v", m.now(), wall.says)
			}
		})
	}
}

// wallClock is a machine whose wall clock says what it is told, once it is told.
type wallClock struct {
	*machine
	says time.Time
}

func (c *wallClock) Now() time.Time {
	if c.says.IsZero() && c.truth == 0 {
		return c.machine.Now()
	}
	return c.says
}

// TestTheCalendarEnds: time stands still at the last instant, and nothing wraps.
func TestTheCalendarEnds(t *testing.T) {
	c := newMachine()
	c.begun = time.UnixMilli(steady.LastInstant - 10)
	disk := newDisk()
	m, err := New(disk, Config{Clock: c})
	if err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if got := m.now(); got.UnixMilli() > steady.LastInstant || got.UnixMilli() < steady.LastInstant-10 {
			t.Fatalf("now = %v", got)
		}
		c.pass(5 * time.Millisecond)
	}
	c.begun = time.Time{}
	if got := m.now().UnixMilli(); got != steady.LastInstant {
		t.Errorf("now = %d; want the last instant", got)
	}
}

// TestMarkFromTheFuture: a store that has seen a clock that was wrong, or has lost its
// mark, ends what it holds and no other token. Of a mark that is 100 years ahead that
// takes the settle time, all runs of the program together.
func TestMarkFromTheFuture(t *testing.T) {
	for name, row := range map[string]struct {
		mark storage.Mark
		runs int // of a minute each, until it is known
	}{
		"100 years ahead":           {storage.Mark{At: testInstant.AddDate(100, 0, 0)}, 10},
		"300 years ahead":           {storage.Mark{At: testInstant.AddDate(300, 0, 0), Epoch: 3, Since: testInstant}, 10},
		"at the end of time":        {storage.Mark{At: time.UnixMilli(steady.LastInstant - time.Hour.Milliseconds()*24)}, 10},
		"lost":                      {storage.Mark{Epoch: 7}, 0},
		"behind when used last":     {storage.Mark{At: testInstant.Add(-time.Minute), Behind: testInstant.Add(-time.Hour)}, 0},
		"behind just before":        {storage.Mark{At: testInstant.Add(time.Hour), Behind: testInstant.Add(-9 * time.Minute)}, 1},
		"before it began":           {storage.Mark{At: testInstant.Add(-time.Hour)}, -1},
		"behind since a later time": {storage.Mark{At: testInstant.Add(time.Hour), Behind: testInstant.Add(time.Minute)}, 10},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t, Config{Policy: Policy{TTL: 30 * time.Minute, MaxTTL: NoLimit}})
			g.disk.written = row.mark
			known := -1
			for run := range 15 {
				g.machine.pass(100 * time.Millisecond)
				g.disk.reopen()
				g.Manager = g.open()
				bearer := g.logIn()
				if g.tells("a new token", bearer, nil); g.discontinuities() > 0 && known < 0 {
					known = run
				}
				g.disk.write()
				g.machine.pass(time.Minute)
			}
			if n := g.discontinuities(); known != row.runs || n > 1 {
				t.Errorf("known in run %d, %d times; want run %d", known, n, row.runs)
			}
			if now, wall := g.now(), steady.Normalise(g.machine.Now()); !now.Equal(wall) {
				t.Errorf("time is %v, and the clock says %v", now, wall)
			}
		})
	}
}

// TestTwoClocks: as long as one of those on a store keeps up, one that is behind ends
// nothing, and time is that of the one ahead.
func TestTwoClocks(t *testing.T) {
	g := newGuarded(t, Config{Policy: Policy{TTL: day}})
	right := g.Manager
	slow := *g.machine
	behind, err := New(g.disk, Config{Clock: &slow})
	if err != nil {
		t.Fatal(err)
	}
	slow.off -= time.Hour
	bearer := g.logIn()
	last := time.Time{}
	for range 90 {
		g.machine.pass(time.Minute)
		slow.pass(time.Minute)
		for _, m := range []*Manager{right, behind, right, behind} {
			if now := m.now(); now.Before(last) {
				t.Fatalf("time went back from %v to %v", last, now)
			} else {
				last = now
			}
			if _, err := m.Peek(t.Context(), bearer); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 12 { // no other Manager says anything
		slow.pass(time.Minute)
		behind.Peek(t.Context(), bearer)
	}
	if _, err := behind.Peek(t.Context(), bearer); !errors.Is(err, ErrRevoked) {
		t.Errorf("alone with a clock that is behind: %v; want ErrRevoked", err)
	}
}

// TestLeapIsNotSwept: what elapsed time explains is swept at once, what it does not is
// left for a day.
func TestLeapIsNotSwept(t *testing.T) {
	for name, row := range map[string]struct {
		pass func(g *guarded)
		want int
	}{
		"three days went by":         {func(g *guarded) { g.machine.pass(3 * day) }, 1},
		"it slept, and says so":      {func(g *guarded) { g.machine.sleep(3 * day) }, 1},
		"the clock leapt":            {func(g *guarded) { g.machine.off += 3 * day }, 0},
		"it leapt by less":           {func(g *guarded) { g.machine.pass(2 * day); g.machine.off += 23 * time.Hour }, 1},
		"it leapt twice":             {func(g *guarded) { g.machine.off += 23 * time.Hour; g.now(); g.machine.off += 23 * time.Hour }, 0},
		"closed for three days":      {func(g *guarded) { g.machine.pass(3 * day); g.disk.reopen(); g.Manager = g.open() }, 1},
		"closed for a decade":        {func(g *guarded) { g.machine.off += 3650 * day; g.disk.reopen(); g.Manager = g.open() }, 0},
		"a leap, and a day in which": {func(g *guarded) { g.machine.off += 3 * day; g.now(); g.machine.pass(day - time.Minute) }, 0},
		"a leap, and a day":          {func(g *guarded) { g.machine.off += 3 * day; g.now(); g.machine.pass(day + time.Minute) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGuarded(t, Config{})
			g.logIn()
			row.pass(g)
			if n, err := g.Sweep(t.Context()); n != row.want || err != nil {
				t.Errorf("swept %d, %v; want %d", n, err, row.want)
			}
		})
	}
}

// TestKilledAndSetBack takes the file as it was written last, as a kill leaves it, and
// opens that with the clock set back: what ran out more than a minute before is dead.
func TestKilledAndSetBack(t *testing.T) {
	for name, killed := range map[string]bool{"killed": true, "closed": false} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "tokens.db")
			store, err := bolt.Open(path, &bolt.Options{FlushEvery: time.Millisecond})
			if err != nil {
				t.Fatal(err)
			}
			defer store.Close()
			c := newMachine()
			m, err := New(store, Config{Clock: c, Policy: Policy{TTL: time.Hour}})
			if err != nil {
				t.Fatal(err)
			}
			bearer := issueTo(t, m, Grant{Subject: "ana"}).Bearer
			c.pass(time.Hour)
			if !killed {
				m.Peek(t.Context(), bearer)
			}
			for range 61 {
				c.pass(time.Second)
				m.Peek(t.Context(), bearer)
			}
			for store.Marks().Unsaved() {
				runtime.Gosched()
			}
			seen := store.Marks().Mark().At
			if killed {
				b, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				path += ".killed"
				if err := os.WriteFile(path, b, 0o600); err != nil {
					t.Fatal(err)
				}
				seen = seen.Add(-time.Minute)
			} else if err := store.Close(); err != nil {
				t.Fatal(err)
			}
			c.off -= 2 * time.Hour
			again, err := bolt.Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer again.Close()
			if m, err = New(again, Config{Clock: c, Policy: Policy{TTL: time.Hour}}); err != nil {
				t.Fatal(err)
			}
			if now := m.now(); now.Before(seen) {
				t.Errorf("time is %v, and was %v at least", now, seen)
			}
			if _, err := m.Authenticate(t.Context(), bearer); !errors.Is(err, ErrExpired) {
				t.Errorf("set back after it ran out: %v; want ErrExpired", err)
			}
		})
	}
}

// TestMarkIsNoLoad: a program that is only asked writes once a minute, and once it is
// closed.
func TestMarkIsNoLoad(t *testing.T) {
	g := newGuarded(t, Config{Policy: Policy{TTL: day, Renewal: RenewNever}})
	bearer := g.logIn()
	for range 3600 {
		g.machine.pass(time.Second)
		g.tells("in between", bearer, nil)
		g.disk.flush()
	}
	if g.disk.flushes != 60 {
		t.Errorf("%d writes in an hour; want 60", g.disk.flushes)
	}
}

// TestClockConfig: what is out of limits is refused by name.
func TestClockConfig(t *testing.T) {
	for _, row := range []struct {
		cfg  Config
		says string
	}{
		{Config{ClockTolerance: -1}, "ClockTolerance: -1ns is negative"},
		{Config{ClockTolerance: time.Millisecond - 1}, "ClockTolerance: 999.999µs is under a millisecond"},
		{Config{ClockTolerance: NoLimit}, "ClockTolerance: NoLimit has no meaning"},
		{Config{ClockSettle: -time.Hour}, "ClockSettle: -1h0m0s is negative"},
		{Config{ClockSettle: 1}, "ClockSettle: 1ns is under a millisecond"},
		{Config{ClockSettle: NoLimit, ClockGuard: GuardOff}, "ClockSettle: NoLimit has no meaning"},
		{Config{ClockGuard: GuardOff + 1}, "ClockGuard: 3 is none of"},
		{Config{ClockGuard: 255}, "ClockGuard: 255 is none of"},
		{Config{ClockTolerance: time.Millisecond, ClockSettle: time.Millisecond, ClockGuard: GuardStrict}, ""},
		{Config{ClockTolerance: 1<<63 - 2, ClockSettle: 1<<63 - 2}, ""},
	} {
		t.Run(fmt.Sprint(row.says), func(t *testing.T) {
			_, err := New(newDisk(), row.cfg)
			if row.says == "" && err != nil || row.says != "" && (!errors.Is(err, ErrInvalidConfig) || !strings.Contains(err.Error(), row.says)) {
				t.Errorf("New: %v; want %q", err, row.says)
			}
		})
	}
}

// TestTheNumbersOfTheClock: the tolerance and the settle time are those of the Config, to
// the millisecond.
func TestTheNumbersOfTheClock(t *testing.T) {
	for _, row := range []struct {
		behind, passes time.Duration
		ends           bool
	}{
		{time.Minute, time.Hour, false},
		{time.Minute + time.Millisecond, time.Second, false},
		{time.Minute + time.Millisecond, time.Second + time.Millisecond, true},
	} {
		g := newGuarded(t, Config{ClockTolerance: time.Minute, ClockSettle: time.Second, Policy: Policy{TTL: day}})
		bearer := g.logIn()
		g.machine.off -= row.behind
		g.now()
		g.machine.pass(row.passes)
		g.now()
		g.tells("then", bearer, map[bool]error{true: ErrRevoked}[row.ends])
	}
}

// TestFault15_AWrongClockGivesNoGrace: a last use by a clock that was ahead is not good again, not
// even when time comes by its instant.
func TestFault15_AWrongClockGivesNoGrace(t *testing.T) {
	g := newGuarded(t, Config{})
	bearer := issueTo(t, g.Manager, Grant{Subject: "ana", TTL: 5 * time.Hour, MaxUses: 1, UseGrace: time.Minute}).Bearer
	if _, err := g.Authenticate(t.Context(), bearer); err != nil {
		t.Fatal(err)
	}
	g.tells("again", bearer, nil)
	g.machine.off -= 2 * time.Hour
	if err := g.AcceptClock(t.Context()); err != nil {
		t.Fatal(err)
	}
	for range 5 * 60 {
		g.machine.off += 30 * time.Second
		if _, err := g.Authenticate(t.Context(), bearer); !errors.Is(err, ErrRevoked) {
			t.Fatalf("%v after the clock was set right: %v", g.machine.off, err)
		}
	}
}

// machine is a computer whose clocks go each their own way. What has really passed is
// known to the tests alone.
type machine struct {
	begun time.Time      // what the truth is counted from
	truth time.Duration  // what has really passed
	off   time.Duration  // how far the wall clock is ahead of the truth
	ppm   time.Duration  // by how many millionths it is too fast
	awake time.Duration  // the monotonic clock
	slept time.Duration  // since it was started
	tells bool           // it can tell how long it has slept
	told  time.Duration  // what it told last
	zone  *time.Location // of what Now returns
}

func newMachine() *machine { return &machine{begun: testInstant, tells: true, zone: time.UTC} }

func (c *machine) Now() time.Time                       { return c.begun.Add(c.truth + c.off).In(c.zone) }
func (c *machine) After(time.Duration) <-chan time.Time { return nil }

func (c *machine) Elapsed() time.Duration {
	if c.tells {
		c.told = c.slept
	}
	return c.awake + c.told
}

// pass lets time go by, and sleep lets it go by for a machine that is suspended.
func (c *machine) pass(d time.Duration) {
	c.truth, c.awake, c.off = c.truth+d, c.awake+d, c.off+d/1_000_000*c.ppm
}

func (c *machine) sleep(d time.Duration) { c.truth, c.slept = c.truth+d, c.slept+d }

// set sets the wall clock.
func (c *machine) set(t time.Time) { c.off = t.Sub(c.begun.Add(c.truth)) }

// boot starts the machine again.
func (c *machine) boot() { c.awake, c.slept, c.told = 0, 0, 0 }

// quick is a machine whose clock can be asked as the system's can.
type quick struct{ *machine }

func (c quick) WallMilli() int64 { return steady.Milli(c.Now()) }
func (c quick) ReadCached() (wall int64, elapsed time.Duration) {
	return steady.Milli(c.Now()), c.awake + c.told
}

var (
	_ steady.Elapser = (*machine)(nil)
	_ steady.Cached  = quick{}
)

// disk is a store whose records retryOnNewEpoch a crash, and whose mark is what was written
// last.
type disk struct {
	storage.Store
	marks   *storage.Marks
	written storage.Mark
	due     bool
	deleted int // by Sweep, so far
	flushes int // of the mark alone

	forgets bool // what was written of the mark: a fault
}

func newDisk() *disk {
	d := &disk{Store: memory.New()}
	d.reopen()
	return d
}

func (d *disk) Marks() *storage.Marks { return d.marks }

// reopen is what a process finds that comes after another one, which was killed.
func (d *disk) reopen() {
	if d.due = false; d.forgets {
		d.written = storage.Mark{}
	}
	d.marks = storage.NewMarks(d.written, func() { d.due = true })
}

func (d *disk) write() {
	d.written, d.due = d.marks.Mark(), false
	d.marks.Saved(d.written)
}

// flush is what happens within a second of due.
func (d *disk) flush() {
	if d.due {
		d.flushes++
		d.write()
	}
}

func (d *disk) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	puts := 0
	err := d.Store.Update(ctx, subject, func(tx storage.Tx) error {
		counting := &puttingTx{Tx: tx}
		defer func() { puts = counting.puts }()
		return fn(counting)
	})
	if err == nil && puts > 0 {
		d.write()
	}
	return err
}

func (d *disk) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	n, err := d.Store.Sweep(ctx, before, limit)
	d.deleted += n
	return n, err
}

type puttingTx struct {
	storage.Tx
	puts int
}

func (tx *puttingTx) Put(r storage.Record) error {
	tx.puts++
	return tx.Tx.Put(r)
}

// shift is twelve hours of one machine, on which a user works with a program all the time:
// he logs in when he is asked to, with a token of an hour.
type shift struct {
	t       *testing.T
	machine *machine
	disk    *disk
	guard   guardUnderTest
	m       *Manager
	tokens  map[string]time.Duration // the true ends, by bearer
	bearer  string

	late, locked time.Duration
	logIns       int
}

func newShift(t *testing.T, guard guardUnderTest) *shift {
	s := &shift{t: t, machine: newMachine(), disk: newDisk(), guard: guard, tokens: map[string]time.Duration{}}
	s.open()
	return s
}

func (s *shift) open() {
	cfg := s.guard.cfg
	cfg.Clock, cfg.Policy = s.guard.clock(s.machine), Policy{TTL: time.Hour, Renewal: RenewNever}
	m, err := New(s.disk, cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.m = m
}

// closed is a time with the program closed, after which the clock says what it is told.
func (s *shift) closed(d time.Duration, wall time.Time) {
	s.disk.write()
	s.machine.truth += d
	s.disk.reopen()
	s.machine.boot()
	s.machine.set(wall)
	s.open()
}

// second is what happens in one.
func (s *shift) second() {
	s.machine.pass(time.Second)
	s.disk.flush()
	if s.guard.ready != nil && s.guard.ready(s.machine) != nil {
		s.locked += time.Second
		return
	}
	late := false
	for bearer, end := range s.tokens {
		_, err := s.m.Peek(context.Background(), bearer)
		late = late || err == nil && s.machine.truth >= end+simSlack
		if err == nil {
			continue
		}
		if bearer == s.bearer {
			s.bearer = ""
		}
		delete(s.tokens, bearer)
	}
	if late {
		s.late += time.Second
	}
	if s.bearer != "" {
		return
	}
	s.logIns++
	i, err := s.m.Issue(context.Background(), Grant{Subject: "ana"})
	if err == nil {
		_, err = s.m.Peek(context.Background(), i.Bearer)
	}
	if err != nil {
		s.locked += time.Second
		return
	}
	s.bearer = i.Bearer
	s.tokens[i.Bearer] = s.machine.truth + time.Hour
}

// TestClockAccidents plays accidents under the obvious guards and under this one, which
// lets no user in late and locks no user out.
func TestClockAccidents(t *testing.T) {
	race.Alone(t)
	truth := func(s *shift) time.Time { return s.machine.begun.Add(s.machine.truth) }
	for nth, row := range []struct {
		name            string
		at              func(s *shift, second int)
		none, ref, high [2]bool // late, locked: what the obvious guards do
		late            time.Duration
		logIns          int // without an accident there are 12
	}{
		{"nothing happens", func(*shift, int) {}, [2]bool{}, [2]bool{}, [2]bool{}, 0, 12},
		{"set back 2 h after a token ran out", func(s *shift, n int) {
			if n == 3700 {
				s.machine.off -= 2 * time.Hour
			}
		}, [2]bool{true, false}, [2]bool{true, true}, [2]bool{true, false}, 0, 13},
		{"set back 4 min every 4 min", func(s *shift, n int) {
			if n%240 == 0 {
				s.machine.off -= 4 * time.Minute
			}
		}, [2]bool{true, false}, [2]bool{true, false}, [2]bool{true, false}, 0, 72},
		{"10 years ahead for 5 min, then corrected", func(s *shift, n int) {
			if n == 1000 {
				s.machine.off += 10 * 365 * 24 * time.Hour
			}
			if n == 1300 {
				s.machine.off = 0
			}
		}, [2]bool{true, false}, [2]bool{false, true}, [2]bool{true, false}, 0, 14},
		{"no battery: 26 years back for 90 s after a boot, then NTP", func(s *shift, n int) {
			if n == 1000 {
				s.closed(time.Minute, truth(s).AddDate(-26, 0, 0))
			}
			if n == 1090 {
				s.machine.off = 0
			}
		}, [2]bool{}, [2]bool{false, true}, [2]bool{}, 0, 13}, // the thirteenth is in the minute of the boot
		{"NTP steps back 3 s every 10 min", func(s *shift, n int) {
			if n%600 == 0 {
				s.machine.off -= 3 * time.Second
			}
		}, [2]bool{true, false}, [2]bool{true, false}, [2]bool{true, false}, 0, 12},
		{"closed for 8 h, the owner sets the clock to the last use", func(s *shift, n int) {
			if n == 400 {
				s.closed(8*time.Hour, truth(s))
			}
		}, [2]bool{true, false}, [2]bool{true, false}, [2]bool{true, false}, 3200 * time.Second, 12},
	} {
		t.Run(row.name, func(t *testing.T) {
			play := func(guard guardUnderTest) *shift {
				s := newShift(t, guard)
				for n := range 12 * 3600 {
					row.at(s, n)
					s.second()
				}
				return s
			}
			planted := plantedGuards()
			for n, harm := range slices.Sorted(maps.Keys(planted)) {
				if !sample.Every(len(planted), nth+n) {
					continue
				}
				guard := planted[harm]
				want := map[string][2]bool{"none": row.none, "refuse": row.ref, "max": row.high}[guard.name]
				if s := play(guard); [2]bool{s.late > 0, s.locked > 0} != want {
					t.Errorf("%s (%s): late %v, locked out %v; want %v", guard.name, harm, s.late, s.locked, want)
				}
			}
			for _, guard := range realGuards {
				s := play(guard)
				if s.late > row.late+simSlack || row.late > 0 && s.late == 0 || s.locked > 0 || s.logIns > row.logIns {
					t.Errorf("%s: late %v, locked out %v, %d log-ins; want %v, 0, at most %d",
						guard.name, s.late, s.locked, s.logIns, row.late, row.logIns)
				}
				t.Logf("%s: late %v, locked out %v, %d log-ins", guard.name, s.late, s.locked, s.logIns)
			}
		})
	}
}

var clockScripts = flag.Int("clocks", 250, "how many random scripts TestClockScripts plays")

// simulation is a machine with a program on it that uses lapse, and people who use the
// program. It is played by a script that a seed decides, and checks after every step,
// against what has really passed, that
//
//   - no token is accepted after its true end (by more than what excuse says),
//   - time does not go back, except by a discontinuity, or a minute by a kill,
//   - who logs in gets in,
//   - no user has had to log in before the end of a token more often than there were
//     accidents. An accident is one wrong setting of the clock: a jump away and the
//     correction are two,
//   - nothing was deleted within a day of a discontinuity or a leap.
type simulation struct {
	*rand.Rand
	machine  *machine
	disk     *disk
	guard    guardUnderTest
	managers []*Manager
	people   []*person
	log      []string

	accidents int
	epoch     uint32
	at        time.Time     // Mark.At after the last step
	awake     time.Duration // what had elapsed then
	hushed    time.Duration // the truth until which nothing is to be deleted
	touched   bool          // the clock was set and no call has looked since
	hasty     bool          // sweeping heeds no quiet time: a fault
	covered   map[string]int
}

// person has one token at a time.
type person struct {
	name   string
	bearer string
	end    time.Duration // the truth at which the token ends
	forced int           // log-ins since the token did not live as long
	idle   bool          // uses nothing
}

// guardUnderTest is what stands between the machine's clock and the Managers.
type guardUnderTest struct {
	name  string
	cfg   Config
	clock func(*machine) Clock
	ready func(*machine) error // refuses, if so; may be nil
}

const (
	simTTL     = time.Hour
	simSlack   = time.Second
	noAccident = 4 * time.Second // by how much NTP sets a clock right
)

var realGuards = []guardUnderTest{
	{name: "looked at", clock: func(c *machine) Clock { return c }},
	{name: "glanced at", clock: func(c *machine) Clock { return quick{c} }},
}

func newSimulation(seed uint64, guard guardUnderTest) *simulation {
	s := &simulation{
		Rand: rand.New(rand.NewPCG(seed, 6)), machine: newMachine(), disk: newDisk(), guard: guard, covered: map[string]int{},
	}
	s.machine.tells = s.IntN(3) > 0
	for _, name := range []string{"ana", "bob", "cy"} {
		s.people = append(s.people, &person{name: name, idle: name == "cy"})
	}
	s.open()
	return s
}

// open starts the program.
func (s *simulation) open() {
	s.managers = nil
	for n := range 1 + s.IntN(2) {
		cfg := s.guard.cfg
		cfg.Clock, cfg.Prefix = s.guard.clock(s.machine), "a"
		cfg.Policy = Policy{TTL: simTTL, Renewal: Renewal(n * int(RenewNever)), MaxTTL: NoLimit, MaxTokens: NoTokenLimit}
		m, err := New(s.disk, cfg)
		if err != nil {
			panic(err)
		}
		s.managers = append(s.managers, m)
	}
}

func (s *simulation) any() *Manager { return s.managers[s.IntN(len(s.managers))] }

// between returns a duration, as likely to be of one size as of another.
func (s *simulation) between(least, most time.Duration) time.Duration {
	d := least
	for d < most && s.IntN(3) > 0 {
		d *= 3
	}
	return min(most, d+time.Duration(s.Int64N(int64(d))))
}

func (s *simulation) say(what, format string, args ...any) {
	s.covered[what]++
	s.log = append(s.log, fmt.Sprintf("%14v %+.1fs ", s.machine.truth, s.machine.off.Seconds())+what+" "+fmt.Sprintf(format, args...))
}

// play returns what was broken, and by what script.
func (s *simulation) play(steps int) error {
	for range steps {
		s.step()
		if err := s.check(); err != nil {
			return fmt.Errorf("%w, under the guard %q after\n%s", err, s.guard.name, strings.Join(s.log, "\n"))
		}
	}
	return nil
}

func (s *simulation) step() {
	steps := []func(){
		s.work, s.work, s.work, s.work, s.wait, s.wait, s.wait, s.suspend, s.restart, s.kill, s.boot,
		s.slew, s.ntp, s.leapSecond, s.zone, s.jump, s.jump, s.correct, s.sweep,
	}
	steps[s.IntN(len(steps))]()
}

// work has people use the program for a while, at least every minute.
func (s *simulation) work() {
	minutes := 1 + s.IntN(20)
	s.say("work", "for %d min", minutes)
	for range minutes {
		s.pass(time.Minute)
		for _, p := range s.people {
			if !p.idle {
				s.use(p)
			}
		}
	}
}

func (s *simulation) wait() {
	d := s.between(time.Second, 40*time.Hour)
	s.say("wait", "%v", d)
	s.pass(d)
}

func (s *simulation) pass(d time.Duration) {
	s.machine.pass(d)
	if d >= time.Second {
		s.disk.flush()
	}
	if s.machine.off > -time.Minute && s.machine.off < time.Minute { // which NTP sees to
		s.machine.off = max(-10*time.Second, min(s.machine.off, 10*time.Second))
	}
}

func (s *simulation) suspend() {
	d := s.between(time.Minute, 60*time.Hour)
	s.say("suspend", "%v, which it tells: %v", d, s.machine.tells)
	before := s.time()
	s.machine.sleep(d)
	s.pass((steady.LookEvery + 1) * time.Millisecond) // or it has not been asked yet
	if s.machine.tells {
		return
	}
	leap := s.time().Sub(before)
	s.excuse(d - leap) // no other Manager can know
	if leap > defaultRetention {
		s.hushed = max(s.hushed, s.machine.truth+steady.Quiet)
	}
}

// time is what time must at least be now, by what was seen last.
func (s *simulation) time() time.Time {
	t, wall := s.at, s.machine.Now()
	if !t.IsZero() {
		t = t.Add(s.machine.Elapsed() - s.awake)
	}
	if t.IsZero() || wall.After(t) && (steady.Plausible(wall.UnixMilli()) || !steady.Plausible(t.UnixMilli())) {
		t = wall
	}
	return t
}

// excuse lengthens the true ends by the time that no Manager can know of.
func (s *simulation) excuse(d time.Duration) {
	for _, p := range s.people {
		p.end += max(0, d)
	}
}

var errSim = errors.New("broken")

// use is one request of a person, who logs in if that is asked for.
func (s *simulation) use(p *person) {
	if p.bearer != "" && s.refuses() == nil {
		m := s.any()
		if _, err := m.Authenticate(context.Background(), p.bearer); err == nil {
			if m.policy.Renewal == RenewOnUse {
				p.end = max(p.end, s.machine.truth+simTTL)
			}
			return
		}
	}
	s.logIn(p)
}

func (s *simulation) refuses() error {
	if s.guard.ready == nil {
		return nil
	}
	return s.guard.ready(s.machine)
}

// early is how much of a life may be missing for small errors of the clock: they add up
// to the tolerance at most before they are an accident.
const early = defaultTolerance + 30*time.Second

func (s *simulation) logIn(p *person) {
	if p.bearer != "" && s.machine.truth < p.end-early {
		p.forced++
	}
	p.bearer = ""
	if s.refuses() != nil {
		return
	}
	if i, err := s.any().Issue(context.Background(), Grant{Subject: p.name}); err == nil {
		p.bearer, p.end = i.Bearer, s.machine.truth+simTTL
	}
}

// check looks at everything that is promised, as a user of the program would now.
func (s *simulation) check() error {
	if err := s.refuses(); err != nil {
		return fmt.Errorf("%w: locked out: %w", errSim, err)
	}
	if len(s.log) > 0 && s.log[len(s.log)-1] == "DELETED" {
		return fmt.Errorf("%w: deleted within a day of an accident", errSim)
	}
	ctx := context.Background()
	for _, p := range s.people {
		for _, m := range s.managers {
			if _, err := m.Peek(ctx, p.bearer); err == nil && s.machine.truth >= p.end+simSlack {
				return fmt.Errorf("%w: %s is let in %v late", errSim, p.name, s.machine.truth-p.end)
			}
		}
		if _, err := s.any().Peek(ctx, p.bearer); err != nil && (!p.idle || p.bearer == "" || s.IntN(9) == 0) {
			s.logIn(p)
			for _, m := range s.managers {
				if _, err := m.Peek(ctx, p.bearer); err != nil {
					return fmt.Errorf("%w: %s has logged in, and is told: %w", errSim, p.name, err)
				}
			}
		}
		if p.forced > s.accidents {
			return fmt.Errorf("%w: %s has had to log in %d times for %d accidents", errSim, p.name, p.forced, s.accidents)
		}
	}
	return s.checkTime()
}

func (s *simulation) checkTime() error {
	if s.guard.cfg.ClockGuard == GuardOff {
		return nil
	}
	mark := s.disk.marks.Mark()
	if mark.Epoch != s.epoch {
		s.epoch, s.hushed, s.at = mark.Epoch, s.machine.truth+steady.Quiet, time.Time{}
		s.covered["(discontinuity)"]++
	}
	if mark.At.Before(s.at) {
		return fmt.Errorf("%w: time has gone back from %v to %v", errSim, s.at, mark.At)
	}
	if late := s.disk.written.At.Add(markLag); mark.Epoch == s.disk.written.Epoch && !s.disk.due && mark.At.After(late) {
		return fmt.Errorf("%w: time is %v, and %v is written", errSim, mark.At, s.disk.written.At)
	}
	if want := s.time(); !s.at.IsZero() && mark.At.Before(want.Add(-2*steady.LookEvery*time.Millisecond)) {
		return fmt.Errorf("%w: time is %v, and is at least %v", errSim, mark.At, want)
	}
	s.at, s.awake, s.touched = mark.At, s.machine.Elapsed(), false
	return nil
}

// TestClockScripts plays random scripts. -clocks=100000 is the long form.
func TestClockScripts(t *testing.T) {
	race.Alone(t)
	covered := map[string]int{}
	for seed := range uint64(*clockScripts) {
		s := newSimulation(seed, realGuards[seed%2])
		if err := s.play(40); err != nil {
			t.Fatalf("seed %d: %v", seed, err)
		}
		for what, n := range s.covered {
			covered[what] += n
		}
		covered["(accident)"] += s.accidents
		for _, p := range s.people {
			covered["(forced log-in)"] += p.forced
		}
		covered["(deleted)"] += s.disk.deleted
	}
	for _, what := range slices.Sorted(maps.Keys(covered)) {
		t.Logf("%-16s %d", what, covered[what])
		if covered[what] == 0 {
			t.Errorf("no script had any %s", what)
		}
	}
}

// close is the time that the program is closed for, once it was closed or killed. How
// much of it is excused depends on whether the clock was right throughout.
func (s *simulation) close(killed bool, d time.Duration, meanwhile func()) {
	s.pass(time.Second) // what is due has been written by then
	before := s.time()
	if killed {
		s.at = s.at.Add(-markLag)
	} else {
		s.disk.write()
	}
	noted := !s.touched && s.disk.marks.Mark().Behind == s.disk.written.Behind
	s.machine.truth += d
	s.machine.slept += d
	s.disk.reopen()
	right := s.right()
	if meanwhile != nil {
		meanwhile()
	}
	s.awake = s.machine.Elapsed()
	missed := d - s.time().Sub(before)
	switch {
	case !right || !s.right() || !noted: // a program kept closed while the clock is wrong
		s.hushed = 0
	case missed > 0: // it was wrong before, and that is known
		missed = min(missed, defaultSettle+defaultTolerance+markLag)
	}
	s.excuse(missed)
	s.open()
}

const markLag = 61 * time.Second

func (s *simulation) right() bool { return s.machine.off > -time.Minute && s.machine.off < time.Minute }

func (s *simulation) restart() {
	d := s.between(time.Second, 40*time.Hour)
	s.say("restart", "closed for %v", d)
	s.close(false, d, nil)
}

func (s *simulation) kill() {
	d := s.between(time.Second, time.Hour)
	s.say("kill", "closed for %v", d)
	s.close(true, d, nil)
}

// boot starts the machine again, often with the clock of a dead battery, which NTP sets
// right soon, and sometimes never.
func (s *simulation) boot() {
	killed, dead := s.IntN(2) == 0, s.IntN(2) == 0
	year := []int{1970, 1980, 2000}[s.IntN(3)]
	d := s.between(time.Minute, 20*time.Hour)
	s.say("boot", "off for %v, killed: %v, dead battery: %v, %d", d, killed, dead, year)
	s.close(killed, d, func() {
		s.machine.boot()
		if dead {
			s.accident(time.Date(year, 1, 1, 0, 0, 7, 0, time.UTC))
		}
	})
	if dead && s.IntN(4) > 0 {
		s.check()
		s.pass(time.Duration(1+s.IntN(300)) * time.Second)
		s.accident(s.machine.begun.Add(s.machine.truth))
	}
}

func (s *simulation) slew() {
	s.machine.ppm = time.Duration(s.IntN(1001) - 500)
	s.say("slew", "%d ppm", s.machine.ppm)
}

func (s *simulation) ntp() {
	if s.right() {
		s.machine.off = time.Duration(s.Int64N(int64(noAccident))) - noAccident/2
		s.say("ntp", "")
	}
}

func (s *simulation) leapSecond() {
	s.say("leap second", "")
	s.machine.off -= time.Second
}

// zone changes what Now returns, and not when it is.
func (s *simulation) zone() {
	s.say("zone", "")
	s.machine.zone = time.FixedZone("", (s.IntN(27)-12)*3600)
}

// jump sets the clock wrong.
func (s *simulation) jump() {
	d := s.between(5*time.Second, 30*365*24*time.Hour)
	if s.IntN(4) == 0 {
		d = time.Hour // daylight saving, by hand
	}
	if s.IntN(2) == 0 {
		d = -d
	}
	s.say("jump", "%v", d)
	s.accident(s.machine.Now().Add(d))
}

func (s *simulation) correct() {
	s.say("correct", "")
	s.accident(s.machine.begun.Add(s.machine.truth))
}

func (s *simulation) accident(to time.Time) {
	before := s.time()
	s.machine.set(to)
	s.pass((steady.LookEvery + 1) * time.Millisecond) // or no call has looked
	s.accidents++
	s.touched = true
	if s.time().Sub(before) > defaultRetention {
		s.hushed = max(s.hushed, s.machine.truth+steady.Quiet)
	}
}

func (s *simulation) sweep() {
	before := s.disk.deleted
	if s.hasty {
		if _, err := s.disk.Sweep(context.Background(), s.time().Add(-defaultRetention), 100); err != nil {
			panic(err)
		}
	}
	if _, err := s.any().Sweep(context.Background()); err != nil {
		panic(err)
	}
	s.say("sweep", "%d", s.disk.deleted-before)
	if s.disk.deleted > before && s.machine.truth+simSlack < s.hushed {
		s.log = append(s.log, "DELETED")
	}
}

// highWater is a clock that remembers how far it has come, and what people have made of
// that: now is the later one, or else no user gets in.
type highWater struct {
	*machine
	mark *time.Time
}

func (c highWater) Now() time.Time {
	if now := c.machine.Now(); now.After(*c.mark) {
		*c.mark = now
	}
	return *c.mark
}

var errBehind = errors.New("the clock is behind its mark")

// plantedGuards are the obvious guards, and what each does to people.
func plantedGuards() map[string]guardUnderTest {
	off := Config{ClockGuard: GuardOff}
	var mark, refused time.Time
	return map[string]guardUnderTest{
		"late":                    {name: "none", cfg: off, clock: func(c *machine) Clock { return c }},
		"late, time stands still": {name: "max", cfg: off, clock: func(c *machine) Clock { return highWater{c, &mark} }},
		"locked out": {name: "refuse", cfg: off, clock: func(c *machine) Clock { return c }, ready: func(c *machine) error {
			if c.Now().Before(refused.Add(-defaultTolerance)) {
				return errBehind
			}
			highWater{c, &refused}.Now()
			return nil
		}},
	}
}

// forgetful is a disk that loses the mark with the process.
func forgetful(s *simulation) { s.disk.forgets = true }

// trusting makes a Manager whose sweep heeds nothing.
func trusting(s *simulation) { s.hasty = true }

// TestScriptsFindPlantedGuards: as few scripts as the test above plays find what is
// wrong with each of these.
func TestScriptsFindPlantedGuards(t *testing.T) {
	race.Alone(t)
	found := func(t *testing.T, want string, plant func(seed uint64) *simulation) {
		t.Helper()
		for seed := range uint64(200) {
			err := plant(seed).play(40)
			if err == nil {
				continue
			}
			if strings.Contains(err.Error(), want) {
				return
			}
		}
		t.Errorf("no script has found that %q", want)
	}
	for harm := range plantedGuards() {
		t.Run(harm, func(t *testing.T) {
			want, _, _ := strings.Cut(harm, ",")
			found(t, want, func(seed uint64) *simulation { return newSimulation(seed, plantedGuards()[harm]) })
		})
	}
	for want, plant := range map[string]func(*simulation){"time is": forgetful, "deleted": trusting} {
		t.Run(want, func(t *testing.T) {
			found(t, want, func(seed uint64) *simulation {
				s := newSimulation(seed, realGuards[0])
				plant(s)
				return s
			})
		})
	}
	t.Run("impatient", func(t *testing.T) { // a program that does not wait for NTP ends everything too often
		guard := realGuards[0]
		guard.cfg.ClockTolerance, guard.cfg.ClockSettle = time.Millisecond, time.Millisecond
		found(t, "has had to log in", func(seed uint64) *simulation { return newSimulation(seed, guard) })
	})
}

// engine is the clock of a store that several processes share. It counts how often it is asked.
type engine struct {
	*tickWall
	uncertain time.Duration
	away      bool
	asked     atomic.Int32
}

func (e *engine) Time() (time.Time, time.Duration, bool) {
	e.asked.Add(1)
	return e.Now(), e.uncertain, !e.away
}

// fleetStore is how one process sees the records of a fleet: without marks that are kept, with marks of the
// process, and with the clock of the engine.
type fleetStore struct {
	storage.Store
	*engine
	marks *storage.Marks
}

func (s *fleetStore) SharedMarks() *storage.Marks { return s.marks }

func newFleetStore(e *engine) *fleetStore {
	return &fleetStore{memory.New(), e, storage.NewMarks(storage.Mark{}, nil)}
}

// fleet is three processes and the clock of their store, which is the last of clocks. off is how far each
// clock is from the truth.
type fleet struct {
	clocks   [4]*tickWall
	off      [4]time.Duration
	managers [3]*Manager
	begun    time.Duration // how far the clock of the store was off when the processes began
}

func (f *fleet) set(n int, off time.Duration) { f.clocks[n].set(off); f.off[n] += off }

// wrongClock is that a clock is off, from the start or from later on.
type wrongClock struct {
	clock   int
	off     time.Duration
	running bool
}

// play has three processes issue tokens, check those of each other and sweep, while two clocks are wrong. It returns
// what a user would complain of. Where plain, the store has no Timekeeper.
func (f *fleet) play(t *testing.T, wrong [2]wrongClock, plain bool) (complaints []string) {
	ctx, records := t.Context(), memory.New()
	for n := range f.clocks {
		f.clocks[n] = newTickWall()
	}
	apply := func(running bool) {
		for _, w := range wrong {
			if w.running == running {
				f.set(w.clock, w.off)
			}
		}
	}
	apply(false)
	f.begun = f.off[3]
	for n := range f.managers {
		var store storage.Store = &fleetStore{records, &engine{tickWall: f.clocks[3]}, storage.NewMarks(storage.Mark{}, nil)}
		if plain {
			store = &tickSharer{records, storage.NewMarks(storage.Mark{}, nil)}
		}
		f.managers[n] = tickMust(New(store, Config{Clock: f.clocks[n], Policy: Policy{Renewal: RenewNever, Retention: 2 * time.Hour}}))(t)
	}
	type token struct {
		by     int
		bearer string
		at     time.Duration // by the truth
	}
	var tokens []token
	for truth := time.Duration(0); truth < time.Hour; truth += 5 * time.Minute {
		if truth == 10*time.Minute {
			apply(true)
		}
		for n, m := range f.managers {
			if now := m.Now(); f.begun == 0 && f.sane(n) && !now.Equal(testInstant.Add(truth)) {
				complaints = append(complaints, fmt.Sprintf("after %v process %d is off by %v", truth, n, now.Sub(testInstant.Add(truth))))
			} else if f.begun != 0 && !now.Equal(f.managers[0].Now()) {
				complaints = append(complaints, fmt.Sprintf("after %v processes 0 and %d differ", truth, n))
			}
			if truth < 30*time.Minute {
				tokens = append(tokens, token{n, issueTo(t, m, Grant{Subject: "ana"}).Bearer, truth})
			}
		}
		for _, tok := range tokens {
			for n, m := range f.managers {
				_, err := m.Peek(ctx, tok.bearer)
				if alive := truth-tok.at < 30*time.Minute; (err == nil) != alive && (f.begun != 0 || f.sane(n) && f.sane(tok.by)) {
					complaints = append(complaints, fmt.Sprintf("after %v a token of process %d at %v is %v at process %d", truth, tok.by, tok.at, err, n))
				}
			}
		}
		for n, m := range f.managers {
			if deleted := tickMust(m.Sweep(ctx))(t); deleted > 0 {
				complaints = append(complaints, fmt.Sprintf("after %v process %d swept %d", truth, n, deleted))
			}
		}
		for _, c := range f.clocks {
			c.pass(5 * time.Minute)
		}
	}
	return complaints
}

// sane reports whether at most one of the three witnesses of a process has been wrong: its clock, that of the store,
// and the line, which begins at that of the store.
func (f *fleet) sane(n int) bool { return f.begun == 0 && (f.off[n] == 0 || f.off[3] == 0) }

// TestFleetOfWrongClocks: with every pair of wrong clocks among three processes and their store, ahead or behind, from
// the start or from later on, tokens are judged the same everywhere, unless two witnesses of a process are wrong. A store
// whose clock is wrong from the start is agreed with. No wrong clock sweeps anything. Managers without the median
// fail that.
func TestFleetOfWrongClocks(t *testing.T) {
	rows, caught := 0, 0
	for a := range 4 {
		for b := a + 1; b < 4; b++ {
			for bits := range 16 {
				sign := func(bit int) time.Duration { return time.Duration(1 - 2*(bits>>bit&1)) }
				wrong := [2]wrongClock{{a, time.Hour * sign(0), bits&4 != 0}, {b, 3 * time.Hour * sign(1), bits&8 != 0}}
				for _, complaint := range new(fleet).play(t, wrong, false) {
					t.Errorf("%+v: %s", wrong, complaint)
				}
				rows++
				if len(new(fleet).play(t, wrong, true)) > 0 {
					caught++
				}
			}
		}
	}
	if rows != 96 || caught < rows/2 {
		t.Errorf("%d rows; %d caught a Manager without the median", rows, caught)
	}
}

// clockNews keeps the clock disagreements that it is told of.
type clockNews struct{ events []Event }

func (n *clockNews) observe(_ context.Context, e Event) {
	if e.Kind == EventClockDisagreement {
		n.events = append(n.events, e)
	}
}

// TestClockDisagreement: a clock that is further from that of the store than the tolerance and the uncertainty of the
// answer is told of once, until the two have agreed again, and counted.
func TestClockDisagreement(t *testing.T) {
	const ms = time.Millisecond
	for _, uncertain := range []time.Duration{0, 2 * time.Second} {
		limit := defaultTolerance + uncertain
		for _, off := range []time.Duration{limit - ms, limit, limit + ms, -limit + ms, -limit, -limit - ms, 200 * 365 * day} {
			clock, news := newTickWall(), new(clockNews)
			e := &engine{tickWall: newTickWall(), uncertain: uncertain}
			m := tickMust(New(newFleetStore(e), Config{Clock: clock, Observe: news.observe}))(t)
			look := func(what string, want int) {
				t.Helper()
				for range 3 {
					m.Peek(t.Context(), credentialOf(1).Text("lapse"))
					clock.pass(ms)
					e.pass(ms)
				}
				if n := m.Stats().Get(StatKey{VerbClocks, "ok"}); len(news.events) != want || n != uint64(want) {
					t.Errorf("%v of %v, %s: told %d times, counted %d; want %d", off, limit, what, len(news.events), n, want)
				}
			}
			once := 0
			if off.Abs() > limit {
				once = 1
			}
			look("at the start", 0)
			clock.set(off)
			look("off", once)
			clock.set(-off)
			look("right again", once)
			clock.set(off)
			look("off again", 2*once)
			if !m.Now().Equal(e.Now().Truncate(ms)) {
				t.Errorf("%v: it is %v, and %v by the store", off, m.Now(), e.Now())
			}
			for _, told := range news.events {
				if told.Verb != VerbPeek || !errors.Is(told.Err, ErrClock) || Code(told.Err) != "clock" || told.At.IsZero() {
					t.Errorf("told %+v", told)
				}
			}
		}
	}
}

// TestClockDisagreementTellsWhich: which clock is wrong is told where the line can tell.
func TestClockDisagreementTellsWhich(t *testing.T) {
	const unknown, own, other = "which of them is wrong is not known: check both", "that of this machine is wrong: set it right", "that of the store is wrong: set it right"
	for name, row := range map[string]struct {
		start, running [2]time.Duration // of the machine and of the store
		want           string
	}{
		"the machine's is ahead":        {running: [2]time.Duration{time.Hour, 0}, want: "1h0m0s ahead of that of the store; " + own},
		"the machine's is behind":       {running: [2]time.Duration{-time.Hour, 0}, want: "1h0m0s behind that of the store; " + own},
		"the store's is ahead":          {running: [2]time.Duration{0, time.Hour}, want: "1h0m0s behind that of the store; " + other},
		"the store's is behind":         {running: [2]time.Duration{0, -time.Hour}, want: "1h0m0s ahead of that of the store; " + other},
		"both, apart":                   {running: [2]time.Duration{time.Hour, -time.Hour}, want: "2h0m0s ahead of that of the store; " + unknown},
		"both, a little":                {running: [2]time.Duration{3 * time.Minute, -3 * time.Minute}, want: "6m0s ahead of that of the store; " + unknown},
		"the machine's, at the start":   {start: [2]time.Duration{time.Hour, 0}, want: "1h0m0s ahead of that of the store; " + unknown},
		"the store's, at the start":     {start: [2]time.Duration{0, time.Hour}, want: "1h0m0s behind that of the store; " + unknown},
		"by more than a Duration holds": {start: [2]time.Duration{0, 200 * 365 * day}, running: [2]time.Duration{-200 * 365 * day, 0}, want: "behind that of the store; " + unknown},
	} {
		clock, e, news := newTickWall(), &engine{tickWall: newTickWall()}, new(clockNews)
		clock.set(row.start[0])
		e.set(row.start[1])
		m := tickMust(New(newFleetStore(e), Config{Clock: clock, Observe: news.observe}))(t)
		clock.set(row.running[0])
		e.set(row.running[1])
		for range 2 {
			m.Peek(t.Context(), credentialOf(1).Text("lapse"))
		}
		if len(news.events) != 1 || !strings.HasSuffix(news.events[0].Err.Error(), row.want) {
			t.Errorf("%s: %v; want %q", name, news.events, row.want)
		}
	}
}

// markedTimekeeper is a Marker and a Timekeeper.
type markedTimekeeper struct {
	*memory.Store
	*engine
}

// TestWhoIsNoWitness: the clock of the store is not asked under GuardOff, beside a clock without Elapsed, and of a store that
// keeps marks.
func TestWhoIsNoWitness(t *testing.T) {
	e := &engine{tickWall: newTickWall()}
	e.set(time.Hour)
	mock, wall := clock.NewMock(), newTickWall()
	mock.Set(testInstant)
	for name, row := range map[string]struct {
		store storage.Store
		cfg   Config
		asked bool
	}{
		"GuardOff":   {newFleetStore(e), Config{Clock: wall, ClockGuard: GuardOff}, false},
		"a mock":     {newFleetStore(e), Config{Clock: mock}, false},
		"a Marker":   {markedTimekeeper{memory.New(), e}, Config{Clock: wall}, false},
		"a store so": {newFleetStore(e), Config{Clock: wall}, true},
	} {
		e.asked.Store(0)
		m := tickMust(New(row.store, row.cfg))(t)
		for range 2 {
			m.Peek(t.Context(), credentialOf(1).Text("lapse"))
		}
		want := testInstant
		if row.asked {
			want = testInstant.Add(time.Hour)
		}
		if asked := e.asked.Load() > 0; asked != row.asked || !m.Now().Equal(want) {
			t.Errorf("%s: asked %v, and it is %v; want %v, %v", name, asked, m.Now(), row.asked, want)
		}
	}
}

// TestTimekeeperThatIsLate: the line begins at the first answer, and an answer that is missing later moves nothing.
func TestTimekeeperThatIsLate(t *testing.T) {
	clock, e := newTickWall(), &engine{tickWall: newTickWall(), away: true}
	clock.set(-time.Hour)
	m := tickMust(New(newFleetStore(e), Config{Clock: clock}))(t)
	for _, step := range []struct {
		what string
		do   func()
		want time.Duration
	}{
		{"by its own clock", func() {}, -time.Hour},
		{"the first answer", func() { e.away = false }, 0},
		{"the clock is right, the store is away", func() { clock.set(time.Hour); e.away = true }, 0},
		{"the clock is ahead meanwhile", func() { clock.set(time.Hour) }, 0},
		{"and behind", func() { clock.set(-2 * time.Hour) }, 0},
		{"the store is back", func() { e.away = false }, 0},
		{"and agrees with the clock", func() { e.set(-time.Hour) }, 0}, // time does not go back: it waits
		{"nor does a clock that is ahead move it meanwhile", func() { clock.set(3 * time.Hour); clock.pass(30 * time.Minute); e.pass(30 * time.Minute) }, 0},
		{"until it is so late", func() { clock.set(-3 * time.Hour); clock.pass(31 * time.Minute); e.pass(31 * time.Minute) }, time.Minute},
	} {
		step.do()
		m.Now()
		if got := m.Now().Sub(testInstant); got != step.want {
			t.Errorf("%s: it is %v; want %v", step.what, got, step.want)
		}
	}
}

// TestSweepWhereClocksDisagreeFromTheStart: while it is not known which of two clocks is right, nothing is swept for a day.
func TestSweepWhereClocksDisagreeFromTheStart(t *testing.T) {
	const retention = 2 * time.Hour
	for name, row := range map[string]struct {
		machine, store, passed time.Duration
		want                   int
	}{
		"both right, before the retention":    {0, 0, retention - time.Millisecond, 0},
		"both right, after it":                {0, 0, retention + time.Millisecond, 1},
		"the machine's is ahead":              {3 * time.Hour, 0, time.Hour, 0},
		"the store's is ahead":                {0, 3 * time.Hour, time.Hour, 0},
		"the store's is ahead, a day later":   {0, 3 * time.Hour, steady.Quiet - time.Millisecond, 0},
		"the store's is ahead, after the day": {0, 3 * time.Hour, steady.Quiet, 1},
	} {
		e := &engine{tickWall: newTickWall()}
		store, clock := newFleetStore(e), newTickWall()
		cfg := Config{Clock: clock, Policy: Policy{Retention: retention}}
		before := tickMust(New(store, cfg))(t)
		tickMust(before.Expire(t.Context(), issueTo(t, before, Grant{Subject: "ana"}).ID))(t)
		store.marks = storage.NewMarks(storage.Mark{}, nil) // another process
		clock.set(row.machine)
		e.set(row.store)
		m := tickMust(New(store, cfg))(t)
		clock.pass(row.passed)
		e.pass(row.passed)
		if n := tickMust(m.Sweep(t.Context()))(t); n != row.want {
			t.Errorf("%s: %d swept; want %d", name, n, row.want)
		}
	}
}

// TestManagerThatJoins: a Manager that is made in a process beside others takes their time for its line, so that one
// wrong clock moves none of them.
func TestManagerThatJoins(t *testing.T) {
	for n, off := range []time.Duration{time.Hour, -time.Hour, time.Hour, -time.Hour} {
		clock, e := newTickWall(), &engine{tickWall: newTickWall()}
		store := newFleetStore(e)
		first := tickMust(New(store, Config{Clock: clock}))(t)
		first.Now()
		[]*tickWall{clock, e.tickWall}[n/2].set(off)
		second := tickMust(New(store, Config{Clock: clock}))(t)
		for _, m := range []*Manager{second, first} {
			if !m.Now().Equal(testInstant) {
				t.Errorf("%d: it is %v; want %v", n, m.Now(), testInstant)
			}
		}
	}
}

// TestWitnessBetweenLooks: between two looks the time is the line alone, and a clock that was set moves it neither then
// nor at the look.
func TestWitnessBetweenLooks(t *testing.T) {
	machine, e := newMachine(), &engine{tickWall: newTickWall()}
	m := tickMust(New(newFleetStore(e), Config{Clock: quick{machine}}))(t)
	pass := func(d time.Duration) {
		machine.pass(d)
		e.pass(d)
	}
	for _, step := range []struct {
		d     time.Duration
		off   time.Duration
		asked int32
	}{
		{0, 0, 1}, {time.Millisecond, time.Hour, 1}, {98 * time.Millisecond, -time.Hour, 1}, {time.Millisecond, time.Hour, 2}, {99 * time.Millisecond, 0, 2}, {time.Millisecond, 0, 3},
	} {
		if step.d == 0 {
			e.asked.Store(0)
		}
		pass(step.d)
		machine.off = step.off
		want, first := testInstant.Add(machine.truth), m.Now()
		if !first.Equal(want) || !m.Now().Equal(want) || e.asked.Load() != step.asked {
			t.Errorf("after %v: it is %v, and the store was asked %d times; want %v, %d", machine.truth, m.Now(), e.asked.Load(), want, step.asked)
		}
	}
}

// TestHoldsTellOfClocks: a Manager without any call except the held connection tells that the clocks disagree.
func TestHoldsTellOfClocks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		clock := &bubbleClock{start: time.Now()}
		store := &bubbleStore{Store: memory.New()}
		var told atomic.Int32
		m := tickMust(New(store, Config{Clock: clock, Policy: Policy{TTL: 30 * day}, Observe: func(_ context.Context, e Event) {
			if e.Kind == EventClockDisagreement && e.Verb == VerbHold {
				told.Add(1)
			}
		}}))(t)
		h := tickMust(m.Hold(t.Context(), issueTo(t, m, Grant{Subject: "ana"}).Bearer))(t)
		clock.off.Add(int64(time.Hour))
		time.Sleep(6 * hold.WakeEvery)
		if told.Load() != 1 || h.Context().Err() != nil {
			t.Errorf("told %d times; the connection: %v", told.Load(), h.Context().Err())
		}
		h.Release()
		synctest.Wait()
	})
}

// bubbleStore is a store whose engine has the time of a bubble.
type bubbleStore struct{ storage.Store }

func (*bubbleStore) Time() (time.Time, time.Duration, bool) { return time.Now(), 0, true }

// TestSweepBesideAClockFarAhead: a clock of the machine that is a year ahead when the process starts delays sweeping by a
// day, as long as the time of the process is right. Where that time is a year ahead, nothing is swept until the truth has
// caught up.
func TestSweepBesideAClockFarAhead(t *testing.T) {
	const year = 365 * day
	for name, row := range map[string]struct {
		late   bool // the store answers after the start
		passed time.Duration
		want   int
	}{
		"within the day": {false, steady.Quiet - time.Millisecond, 0},
		"after the day":  {false, steady.Quiet, 1},
		"by the machine, until the store answered": {true, steady.Quiet, 0},
		"and a day before the truth is there":      {true, year - time.Millisecond, 0},
	} {
		e := &engine{tickWall: newTickWall(), away: row.late}
		store, clock := newFleetStore(e), newTickWall()
		issued := newFleetStore(e)
		issued.Store = store.Store // another process, with a clock that is right
		before := tickMust(New(issued, Config{Clock: newTickWall()}))(t)
		tickMust(before.Expire(t.Context(), issueTo(t, before, Grant{Subject: "ana"}).ID))(t)
		clock.set(year)
		m := tickMust(New(store, Config{Clock: clock, Policy: Policy{Retention: 2 * time.Hour}}))(t)
		m.Now()
		e.away = false
		m.Now()
		clock.pass(row.passed)
		e.pass(row.passed)
		if n := tickMust(m.Sweep(t.Context()))(t); n != row.want {
			t.Errorf("%s: %d swept; want %d", name, n, row.want)
		}
	}
}
