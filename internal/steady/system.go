package steady

import (
	"sync/atomic"
	"time"
)

// System is the clock of this machine, as a Cached. In a testing/synctest bubble it
// follows the bubble's time.
type System struct {
	start       time.Time     // with a monotonic reading
	sleptBefore time.Duration // how long the machine had been suspended by then, at most
	slept       atomic.Int64  // how long it has been since, as far as is known

	wallOffset atomic.Int64 // the clock, in Unix nanoseconds, less the time since start
	wallReadAt atomic.Int64 // the time since start when that was found
}

// wallTTL is how long what the system's clock was set to is taken for what it is set to.
// To ask for both costs twice as much as to ask how much time has passed.
const wallTTL = time.Millisecond

// maxReadGap is how far apart the two readings that a Time is made of can be for it to be
// gone by: a machine that is busy may stop between them.
const maxReadGap = 20 * time.Microsecond

// NewSystem returns a System whose Elapsed counts from now.
func NewSystem() *System {
	_, slept := suspended()
	s := &System{start: time.Now(), sleptBefore: slept}
	s.wallReadAt.Store(-int64(wallTTL)) // and not yet asked
	return s
}

// Now is time.Now.
func (*System) Now() time.Time { return time.Now() }

// After is time.After.
func (*System) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Elapsed is the time since s was made. Go's own monotonic clock stands still while
// the machine is suspended, on most systems; that is added. It is asked for apart, so
// that in a bubble, whose time is its own, nothing is.
func (s *System) Elapsed() time.Duration {
	if least, _ := suspended(); least > s.sleptBefore {
		s.slept.Store(int64(least - s.sleptBefore))
	}
	return s.withSuspended(time.Since(s.start))
}

// withSuspended adds to what has passed what is known to have passed besides.
func (s *System) withSuspended(passed time.Duration) time.Duration {
	return passed + time.Duration(s.slept.Load())
}

// ReadCached implements Cached.
func (s *System) ReadCached() (wall int64, elapsed time.Duration) {
	passed := time.Since(s.start)
	if ago := passed - time.Duration(s.wallReadAt.Load()); ago < 0 || ago >= wallTTL { // less than 0 out of a bubble
		return s.readWall(passed)
	}
	return (s.wallOffset.Load() + int64(passed)) / int64(time.Millisecond), s.withSuspended(passed)
}

// WallMilli implements Cached.
func (s *System) WallMilli() int64 {
	wall, _ := s.readWall(time.Since(s.start))
	return wall
}

// read is ReadCached, once so much has passed, where the clock may have been set meanwhile.
// What it finds out is kept, ahead first: who sees when it was asked sees that, or
// something newer.
func (s *System) readWall(passed time.Duration) (wall int64, elapsed time.Duration) {
	now := time.Now()
	since := now.Sub(s.start)
	if ns := now.UnixNano(); since-passed < maxReadGap && ns >= 0 && now.Year() < 2200 {
		s.wallOffset.Store(ns - int64(since))
		s.wallReadAt.Store(int64(since))
	} else {
		s.wallReadAt.Store(int64(since - wallTTL))
	}
	return Milli(now), s.withSuspended(since)
}
