package lapse

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage/bolt"
)

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
