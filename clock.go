package lapse

import (
	"sync/atomic"
	"time"
)

// Clock tells a Manager the time. It must be safe for concurrent use, and may go
// backwards: what decisions see does not (Config.ClockGuard). *clock.Mock of
// github.com/benbjohnson/clock is a Clock as it is, and so is anything else with
// these two methods.
//
// A Clock may also have a method Elapsed() time.Duration: how much time has passed
// since some instant, whatever the clock was set to meanwhile, the time that the
// machine was suspended included where that can be known. Without this method a clock that
// was set back cannot be told from a clock that waits: time stands still until the clock
// has caught up. A mock is such a clock; GuardOff has time go back with the mock.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// elapser is a Clock that knows how much time has passed.
type elapser interface{ Elapsed() time.Duration }

// glancer is an elapser that can nearly always be asked for less.
type glancer interface {
	elapser

	// ask returns what Now says, in Unix milliseconds.
	ask() int64

	// glance returns what ask would, or would have a moment ago but not before it was
	// last called, and what Elapsed does by what that has found out before.
	glance() (wall int64, elapsed time.Duration)
}

// systemClock is what a nil Config.Clock means. In a testing/synctest bubble it
// follows the bubble's time.
type systemClock struct {
	start time.Time     // with a monotonic reading
	awake time.Duration // how long the machine had been suspended by then, at most
	slept atomic.Int64  // how long it has been since, as far as is known

	ahead atomic.Int64 // the clock, in Unix nanoseconds, less the time since start
	asked atomic.Int64 // the time since start when that was found
}

// goodFor is how long what the system's clock was set to is taken for what it is set to.
// To ask for both costs twice as much as to ask how much time has passed.
const goodFor = time.Millisecond

// atOnce is how far apart the two readings that a Time is made of can be for it to be
// gone by: a machine that is busy may stop between them.
const atOnce = 20 * time.Microsecond

func newSystemClock() *systemClock {
	_, awake := suspended()
	s := &systemClock{start: time.Now(), awake: awake}
	s.asked.Store(-int64(goodFor)) // and not yet asked
	return s
}

func (*systemClock) Now() time.Time                         { return time.Now() }
func (*systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Elapsed is the time since s was made. Go's own monotonic clock stands still while
// the machine is suspended, on most systems; that is added. It is asked for apart, so
// that in a bubble, whose time is its own, nothing is.
func (s *systemClock) Elapsed() time.Duration {
	if least, _ := suspended(); least > s.awake {
		s.slept.Store(int64(least - s.awake))
	}
	return s.counting(time.Since(s.start))
}

// counting adds to what has passed what is known to have passed besides.
func (s *systemClock) counting(passed time.Duration) time.Duration {
	return passed + time.Duration(s.slept.Load())
}

func (s *systemClock) glance() (wall int64, elapsed time.Duration) {
	passed := time.Since(s.start)
	if ago := passed - time.Duration(s.asked.Load()); ago < 0 || ago >= goodFor { // less than 0 out of a bubble
		return s.read(passed)
	}
	return (s.ahead.Load() + int64(passed)) / int64(time.Millisecond), s.counting(passed)
}

func (s *systemClock) ask() int64 {
	wall, _ := s.read(time.Since(s.start))
	return wall
}

// read is glance, once so much has passed, where the clock may have been set meanwhile.
// What it finds out is kept, ahead first: who sees when it was asked sees that, or
// something newer.
func (s *systemClock) read(passed time.Duration) (wall int64, elapsed time.Duration) {
	now := time.Now()
	since := now.Sub(s.start)
	if ns := now.UnixNano(); since-passed < atOnce && ns >= 0 && now.Year() < 2200 {
		s.ahead.Store(ns - int64(since))
		s.asked.Store(int64(since))
	} else {
		s.asked.Store(int64(since - goodFor))
	}
	return milli(now), s.counting(since)
}

// Now returns the time that decisions see, in UTC and to the millisecond. It is what to
// give Token.Live for a token that a list returned: after the clock was set back it
// agrees with Authenticate, and Config.Clock does not.
func (m *Manager) Now() time.Time { return m.now() }

// heartbeat returns what has c read again every so often, if c does not know how much time
// has passed: it may have been set, and the machine may have slept. A mock stops at each
// timer of its own, so the ticker is one of package time. No decision depends on when it
// fires.
func heartbeat(c Clock, every time.Duration) (beat <-chan time.Time, stop func()) {
	if _, ok := c.(elapser); ok {
		return nil, func() {} // holdRun.next has a timer of c for that
	}
	ticker := time.NewTicker(every)
	return ticker.C, ticker.Stop
}

// now is the only reader of the clock, and what it returns the only time that
// decisions see: it never goes back but under GuardOff. Without a monotonic reading a
// suspended machine cannot lengthen a life, and whole milliseconds are what every store
// can keep, so that all of them agree on every instant.
func (m *Manager) now() time.Time {
	if m.time == nil {
		return normalise(m.clock.Now())
	}
	return m.time.now()
}

// The instants that lapse knows, in Unix milliseconds: years 1 to 9999, without
// the zero Time, which means "not set" wherever an instant may be missing.
const (
	firstInstant = -62135596800_000 + 1
	lastInstant  = 253402300799_999
)

// milli returns t in Unix milliseconds, rounded down, and moved to the nearest instant
// that lapse knows.
func milli(t time.Time) int64 {
	sec := max(firstInstant/1000-2, min(t.Unix(), lastInstant/1000+1)) // a Time may lie where milliseconds overflow
	return max(firstInstant, min(sec*1000+int64(t.Nanosecond())/int64(time.Millisecond), lastInstant))
}

// normalise is milli, as a Time in UTC without a monotonic reading.
func normalise(t time.Time) time.Time { return time.UnixMilli(milli(t)).UTC() }

// add returns t+d for d >= 0, the last instant lapse knows at most.
func add(t time.Time, d time.Duration) time.Time { return normalise(t.Add(d)) }
