package lapse

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

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
					t.Errorf("%d after somebody has seen %d", now, before)
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

// TestHoldsAreCutByTheClock: with nobody there but who holds a connection, on any of the
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
