package lapse

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

var interleavings = flag.Int("interleavings", 250, "how many times TestHoldAgainstEnds lets Hold and an end loose on each other")

// jitter is a store in memory whose answers take a few turns of the scheduler, as many
// as were drawn for each place.
type jitter struct {
	*memory.Store
	turns [4]int
}

func (j *jitter) dawdle(place int) {
	for range j.turns[place] {
		runtime.Gosched()
	}
}

func (j *jitter) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	j.dawdle(0)
	defer j.dawdle(1)
	return j.Store.Get(ctx, id)
}

func (j *jitter) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	j.dawdle(2)
	defer j.dawdle(3)
	return j.Store.Update(ctx, subject, fn)
}

// bare hides that j tells.
type bare struct{ storage.Store }

// A holding is Hold, or a Hold with a fault.
type holding func(ctx context.Context, m *Manager, bearer string) (context.Context, Token, error)

func properly(ctx context.Context, m *Manager, bearer string) (context.Context, Token, error) {
	return opened(m.Hold(ctx, bearer))
}

// tooLate is the fault that the harness must find: it registers what it has read.
func tooLate(ctx context.Context, m *Manager, bearer string) (context.Context, Token, error) {
	c := new(hold.Conn)
	held := c.Open(ctx, func() { m.holds.Drop(c) })
	tok, err := m.Authenticate(ctx, bearer)
	if err != nil {
		c.End(err)
		return held, tok, err
	}
	m.holds.Add(c, tok.ID)
	m.holds.Arm(c, &tok, tok.Generation, false)
	return held, tok, nil
}

// newest is another fault: it takes each connection for one that the newest text opened,
// so that no rotation cuts any.
func newest(ctx context.Context, m *Manager, bearer string) (context.Context, Token, error) {
	c := new(hold.Conn)
	held := c.Open(ctx, func() { m.holds.Drop(c) })
	var cred credential
	cred.Parse(bearer, m.prefix)
	m.holds.Add(c, cred.ID())
	tok, err := m.Authenticate(ctx, bearer)
	over := err != nil
	if !over {
		over, err = m.holds.Arm(c, &tok, math.MaxUint32, false)
	}
	if over || err != nil {
		m.holds.Drop(c)
		c.End(err)
	}
	return held, tok, err
}

// duel lets a Hold and an end of its token loose on each other, and returns what is
// wrong afterwards. It runs in a bubble.
type duel struct {
	rng  *rand.Rand
	hold holding
	ends []duelEnd
}

func (d duel) fight() error {
	ctx, release := context.WithCancel(context.Background())
	defer synctest.Wait()
	defer release()
	store := &jitter{Store: memory.New()}
	for place := range store.turns {
		store.turns[place] = d.rng.IntN(12)
	}
	polled := d.rng.IntN(8) == 0
	var s storage.Store = store
	if polled {
		s = bare{store}
	}
	m, err := New(s, Config{Policy: Policy{MaxTokens: 1, AtLimit: LimitEndOldest}})
	if err != nil {
		return err
	}
	issued, err := m.Issue(ctx, Grant{Subject: "ana"})
	if err != nil {
		return err
	}
	if err := d.standing(ctx, m, issued.Bearer); err != nil {
		return err
	}
	end := d.ends[d.rng.IntN(len(d.ends))]
	first, second := d.rng.IntN(20), d.rng.IntN(20)
	var held context.Context
	var errHold, errEnd error
	open := make(chan struct{})
	var both sync.WaitGroup
	both.Go(func() {
		<-open
		spin(first)
		held, _, errHold = d.hold(ctx, m, issued.Bearer)
	})
	both.Go(func() {
		<-open
		spin(second)
		errEnd = end.do(ctx, m, issued)
	})
	synctest.Wait() // both have arrived
	close(open)
	both.Wait()
	if polled {
		time.Sleep(defaultPollHolds)
	}
	synctest.Wait()
	return end.verdict(held, errHold, errEnd)
}

// standing has some held before, or nobody: then the first look that a Manager takes at
// all finds what was missed.
func (d duel) standing(ctx context.Context, m *Manager, bearer string) error {
	switch d.rng.IntN(4) {
	case 0:
		return nil
	case 1: // by the same token
		_, _, err := opened(m.Hold(ctx, bearer))
		synctest.Wait()
		return err
	}
	bob, err := m.Issue(ctx, Grant{Subject: "bob"})
	if err == nil {
		_, _, err = opened(m.Hold(ctx, bob.Bearer))
	}
	synctest.Wait()
	return err
}

func spin(turns int) {
	for range turns {
		runtime.Gosched()
	}
}

// duelEnd ends a token, or the secret that the Hold presents, and is told to those who are
// cut by an error and a reason.
type duelEnd struct {
	do     func(ctx context.Context, m *Manager, i Issued) error
	err    error
	reason EndReason
}

var duelEnds = []duelEnd{
	{func(ctx context.Context, m *Manager, i Issued) error { _, err := m.Expire(ctx, i.ID); return err }, ErrRevoked, EndRevoked},
	{func(ctx context.Context, m *Manager, _ Issued) error {
		_, err := m.ExpireSubject(ctx, "ana")
		return err
	}, ErrRevoked, EndSubject},
	{func(ctx context.Context, m *Manager, _ Issued) error {
		_, err := m.Issue(ctx, Grant{Subject: "ana"})
		return err
	}, ErrRevoked, EndEvicted},
}

var duelRotations = []duelEnd{
	{func(ctx context.Context, m *Manager, i Issued) error {
		_, err := m.Rotate(ctx, i.Bearer, 0)
		return err
	}, ErrReplaced, 0},
	{func(ctx context.Context, m *Manager, i Issued) error { _, err := m.RotateID(ctx, i.ID, 0); return err }, ErrReplaced, 0},
}

var errMissed = errors.New("an end was missed")

func (e *duelEnd) verdict(held context.Context, errHold, errEnd error) error {
	cause := context.Cause(held)
	why, ok := cause.(*Rejection)
	switch {
	case errEnd != nil:
		return errEnd
	case cause == nil:
		return errMissed
	case !ok || !errors.Is(why, e.err) || why.Reason != e.reason || why.Subject != "ana":
		return fmt.Errorf("cut by %v; want %v and the reason %v", cause, e.err, e.reason)
	case errHold != nil && errHold != cause:
		return fmt.Errorf("the error is %v, and the cause %v", errHold, cause)
	}
	return nil
}

// duels fights n times and returns how often an end was missed, and what else was wrong.
func duels(t *testing.T, n int, seed uint64, hold holding, ends []duelEnd) (missed int, wrong error) {
	const inOneBubble = 500
	for done := 0; done < n && wrong == nil; done += inOneBubble {
		synctest.Test(t, func(t *testing.T) {
			d := duel{rand.New(rand.NewPCG(seed, uint64(done))), hold, ends}
			for range min(inOneBubble, n-done) {
				switch err := d.fight(); {
				case err == errMissed:
					missed++
				case err != nil:
					wrong = err
					return
				}
			}
		})
	}
	return missed, wrong
}

// TestHoldAgainstEnds: an end that returns after Hold was called cuts it, whatever the
// two race, and so does a rotation with an overlap of 0.
func TestHoldAgainstEnds(t *testing.T) {
	for name, ends := range map[string][]duelEnd{"ends": duelEnds, "rotations": duelRotations} {
		t.Run(name, func(t *testing.T) {
			seed := rand.Uint64()
			missed, wrong := duels(t, *interleavings, seed, properly, ends)
			if missed > 0 || wrong != nil {
				t.Errorf("seed %d: of %d ends %d were missed; %v", seed, *interleavings, missed, wrong)
			}
		})
	}
}

// TestHoldAgainstEndsFindsAGap: the harness must find a registry that registers what it
// has read, and one that does not know which text opened a connection, in no more attempts
// than the test above makes.
func TestHoldAgainstEndsFindsAGap(t *testing.T) {
	for name, row := range map[string]struct {
		hold holding
		ends []duelEnd
	}{
		"too late":                {tooLate, duelEnds},
		"too late for a rotation": {tooLate, duelRotations},
		"all by the newest text":  {newest, duelRotations},
	} {
		t.Run(name, func(t *testing.T) {
			for round := range uint64(20) {
				if missed, _ := duels(t, 100, round, row.hold, row.ends); missed > 0 {
					return
				}
			}
			t.Error("not found")
		})
	}
}

// TestBytesOfHold: a connection takes 1,320 bytes at most, all in all: the Hold with its
// Token, what keeps it, and what of the caller's context it makes grow.
func TestBytesOfHold(t *testing.T) {
	if race.Enabled {
		t.Skip("the race detector allocates by itself")
	}
	const holds, budget = 5_000, 1320
	rows := map[string]struct {
		cfg      Config
		tokens   int
		delegate bool
	}{
		"a token each":                    {Config{}, holds, false},
		"a token each, asked about again": {Config{Admit: letPass, Recheck: day}, holds, false},
		"ten for a token":                 {Config{}, holds / 10, false},
		"a delegate each":                 {Config{}, holds, true},
	}
	for n, name := range slices.Sorted(maps.Keys(rows)) {
		if !sample.Every(2, n) {
			continue
		}
		tt := rows[name]
		t.Run(name, func(t *testing.T) {
			tt.cfg.Policy.MaxTokens, tt.cfg.Policy.MaxDelegates = NoTokenLimit, NoTokenLimit
			m, _ := managerOver(t, memory.New(), tt.cfg)
			bearers := make([]string, tt.tokens)
			parent := issueTo(t, m, Grant{Subject: "ana"})
			for i := range bearers {
				if tt.delegate {
					d, err := m.Delegate(t.Context(), parent.Bearer, Grant{})
					if err != nil {
						t.Fatal(err)
					}
					bearers[i] = d.Bearer
				} else {
					bearers[i] = issueTo(t, m, Grant{Subject: fmt.Sprint("subject ", i)}).Bearer
				}
			}
			if got := bytesOfHolds(t, m, bearers, holds); got > budget {
				t.Errorf("%d bytes for each of %d, want %d at most", got, holds, budget)
			} else {
				t.Logf("%d bytes each", got)
			}
		})
	}
}

// bytesOfHolds holds n connections and returns what each of them takes.
func bytesOfHolds(t testing.TB, m *Manager, bearers []string, n int) int64 {
	t.Helper()
	callers, held := make([]context.Context, n), make([]*Hold, n)
	all, release := context.WithCancel(t.Context())
	defer release()
	for i := range callers {
		ctx, cancel := context.WithCancel(all)
		defer cancel()
		callers[i] = ctx
	}
	before := inUse()
	for i := range held {
		var err error
		if held[i], err = m.Hold(callers[i], bearers[i%len(bearers)]); err != nil {
			t.Fatal(err)
		}
	}
	after := inUse()
	for range 10 { // the batches that are read meanwhile take memory, too
		after = min(after, inUse())
	}
	runtime.KeepAlive(held)
	return (after - before) / int64(n)
}

func inUse() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// TestUseByTheClock: a use is refused, or could not tell, as Authenticate says once the clock proves
// to have been wrong, also where no use is due.
func TestUseByTheClock(t *testing.T) {
	for guard, want := range map[ClockGuard]error{GuardDefault: ErrRevoked, GuardStrict: ErrClock} {
		for _, every := range []time.Duration{0, 20 * day} {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(30 * 365 * day) // or the bubble is in 2000, which no clock is taken for right in
				clock := &bubbleClock{start: time.Now()}
				m, err := New(memory.New(), Config{Clock: clock, ClockGuard: guard, Policy: Policy{TTL: 30 * day, RenewEvery: every}})
				if err != nil {
					t.Fatal(err)
				}
				i := issueTo(t, m, Grant{Subject: "ana"})
				h, err := m.Hold(t.Context(), i.Bearer)
				if err != nil {
					t.Fatal(err)
				}
				defer h.Release()
				clock.off.Add(int64(-2 * time.Hour))
				for _, wait := range []time.Duration{0, defaultSettle - time.Second} {
					time.Sleep(wait)
					if err := h.Use(t.Context()); err != nil {
						t.Fatalf("before the clock has settled: %v", err)
					}
				}
				time.Sleep(6 * hold.WakeEvery)
				synctest.Wait()
				_, checked := m.Authenticate(t.Context(), i.Bearer)
				if err := h.Use(t.Context()); !errors.Is(err, want) || !errors.Is(checked, want) || errors.Is(err, ErrUnauthenticated) != (guard == GuardDefault) {
					t.Errorf("guard %d, every %v: %v, by Authenticate %v; want %v", guard, every, err, checked, want)
				}
			})
		}
	}
}

// movingClock is a tickingClock for goroutines.
type movingClock struct{ ms atomic.Int64 }

func (c *movingClock) Now() time.Time {
	return testInstant.Add(time.Duration(c.ms.Add(1)) * time.Millisecond)
}

func (c *movingClock) After(time.Duration) <-chan time.Time { return nil }

// TestUseAllocatesNothing, whether or not it is due, and also after the secret was
// replaced.
func TestUseAllocatesNothing(t *testing.T) {
	for name, row := range map[string]struct {
		every   time.Duration
		rotated bool
	}{"not due": {day, false}, "due": {0, false}, "of a rotated token": {0, true}} {
		m, _ := managerOver(t, memory.New(), Config{Clock: new(movingClock), Policy: Policy{TTL: 2 * day, RenewEvery: row.every}})
		i := issueTo(t, m, Grant{Subject: "ana"})
		h, err := m.Hold(t.Context(), i.Bearer)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Release()
		if row.rotated {
			if _, err := m.Rotate(t.Context(), i.Bearer, time.Hour); err != nil {
				t.Fatal(err)
			}
		}
		if n := allocations(t, func() {
			if err := h.Use(t.Context()); err != nil {
				t.Fatal(err)
			}
		}); n > 0 {
			t.Errorf("%s: %v allocations", name, n)
		}
	}
}
