package hold

import (
	"slices"
	"time"
)

// holdTimer is a timer of Config.Clock that has not fired.
type timer struct {
	firesAt instant // or earlier
	fires   <-chan time.Time
}

const (
	// setAttempts bounds how often timerFor sets a timer because the clock moved on
	// meanwhile. Some mocks move whenever they are read.
	setAttempts = 3

	// longestWait is the most that a timer waits. A Duration cannot hold much more.
	longestWait = 365 * 24 * time.Hour
)

// timer returns a timer that fires at next or before, or nil if next is noInstant. due
// reports that next has come. Nothing cancels a timer of a Clock, and a mock stops at
// each of them, so one is made only where none of s fires early enough.
func (s *Scheduler) timerFor(next instant) (t *timer, due bool) {
	if next == never {
		return nil, false
	}
	for range setAttempts {
		now := instantOf(s.cfg.Now())
		if next <= now {
			return nil, true
		}
		if t = s.firstTimer(now); t != nil && t.firesAt <= next {
			return t, false
		}
		wait := min(next-now, instant(longestWait.Milliseconds()))
		fires := s.cfg.After(wait.sub(0))
		t = &timer{firesAt: instantOf(s.cfg.Now()) + wait, fires: fires} // a mock may have moved since now
		s.keepTimer(t)
	}
	return t, false
}

func (s *Scheduler) keepTimer(t *timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers = append(s.timers, t)
}

// soonest returns the timer that fires first, or nil. It forgets those that should have
// fired by now: the clock was set.
func (s *Scheduler) firstTimer(now instant) (first *timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers = slices.DeleteFunc(s.timers, func(t *timer) bool { return t.firesAt <= now })
	for _, t := range s.timers {
		if first == nil || t.firesAt < first.firesAt {
			first = t
		}
	}
	return first
}

// fired forgets t, which has fired. If that woke r, and connections are served by
// another run meanwhile, the other one is woken.
func (s *Scheduler) timerFired(t *timer, r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers = slices.DeleteFunc(s.timers, func(other *timer) bool { return other == t })
	if s.run != nil && s.run != r {
		signal(s.run.wake)
	}
}

// heartbeat returns what has the clock read again every so often, if it does not know how
// much time has passed: it may have been set, and the machine may have slept. A mock stops
// at each timer of its own, so the ticker is one of package time. No decision depends on
// when it fires.
func heartbeat(elapses bool) (beat <-chan time.Time, stop func()) {
	if elapses {
		return nil, func() {}
	}
	ticker := time.NewTicker(WakeEvery)
	return ticker.C, ticker.Stop
}
