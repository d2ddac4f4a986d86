package lapse

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/race"
	"github.com/seed-55daa01a/lapse/internal/steady"
)

// check looks at everything that is promised, as somebody who uses the program now.
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
