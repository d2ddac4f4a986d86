package hold

import (
	"slices"
	"time"
)

// timer is a timer of Config.After that has not fired.
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

// timerFor returns a timer that fires at next or before, or nil if next is never. If next
// has passed, timerFor returns true. A timer of Config.After cannot be stopped, and a mock
// clock stops at each of its timers, so timerFor sets a new one only if every timer that
// has not fired is too late.
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

// firstTimer returns the timer that fires first, or nil. It forgets the timers that should
// have fired before now: they have not because the clock was set. A timer that is due right
// now is about to fire. A mock clock may be firing that timer, and a *clock.Mock that is asked
// for another one meanwhile fires it a second time, which blocks the mock for ever.
func (s *Scheduler) firstTimer(now instant) (first *timer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers = slices.DeleteFunc(s.timers, func(t *timer) bool { return t.firesAt < now })
	for _, t := range s.timers {
		if first == nil || t.firesAt < first.firesAt {
			first = t
		}
	}
	return first
}

// timerFired forgets t, which has fired and woken r. If r is over, the run that has
// replaced r may wait for t as well, so timerFired wakes that run.
func (s *Scheduler) timerFired(t *timer, r *run) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers = slices.DeleteFunc(s.timers, func(other *timer) bool { return other == t })
	if s.run != nil && s.run != r {
		signal(s.run.wake)
	}
}

// heartbeat returns a channel that has the clock read every WakeEvery, unless the clock
// knows how much time has passed: for such a clock nextTick sets a timer. A mock clock
// stops at each of its timers, so this ticker is one of package time. No decision depends
// on when it fires.
func heartbeat(elapses bool) (beat <-chan time.Time, stop func()) {
	if elapses {
		return nil, func() {}
	}
	ticker := time.NewTicker(WakeEvery)
	return ticker.C, ticker.Stop
}
