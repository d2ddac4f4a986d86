package steady

import (
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/internal/elapsed"
)

// System is the clock of this machine, as a Cached. In a testing/synctest bubble it
// follows the bubble's time.
type System struct {
	start       time.Time     // with a monotonic reading
	sleptBefore time.Duration // the longest that the machine can have been suspended before start
	slept       atomic.Int64  // how long it has been suspended since, as far as is known

	wallOffset atomic.Int64 // the clock in Unix nanoseconds less the time since start
	wallReadAt atomic.Int64 // the time since start when wallOffset was read
}

// wallTTL is how long a cached offset of the wall clock is used. To read the wall clock at each
// check makes BenchmarkAuthenticate 24 percent slower.
const wallTTL = time.Millisecond

// maxReadGap is how far apart the two readings of time.Now, wall and monotonic, may be. An offset
// from readings further apart is not cached: a busy machine may stop between them.
const maxReadGap = 20 * time.Microsecond

// NewSystem returns a System whose Elapsed counts from now.
func NewSystem() *System {
	_, slept := elapsed.Suspended()
	s := &System{start: time.Now(), sleptBefore: slept}
	s.wallReadAt.Store(-int64(wallTTL)) // not read yet
	return s
}

// Now is time.Now.
func (*System) Now() time.Time { return time.Now() }

// After is time.After.
func (*System) After(d time.Duration) <-chan time.Time { return time.After(d) }

// Elapsed returns the time since s was made. On most systems Go's monotonic clock stands still
// while the machine is suspended, so Elapsed adds that time.
func (s *System) Elapsed() time.Duration {
	if least, _ := elapsed.Suspended(); least > s.sleptBefore {
		s.slept.Store(int64(least - s.sleptBefore))
	}
	return s.withSuspended(time.Since(s.start))
}

// withSuspended adds to passed the time that the machine is known to have been suspended.
func (s *System) withSuspended(passed time.Duration) time.Duration {
	return passed + time.Duration(s.slept.Load())
}

// ReadCached implements Cached.
func (s *System) ReadCached() (wall int64, elapsed time.Duration) {
	passed := time.Since(s.start)
	if ago := passed - time.Duration(s.wallReadAt.Load()); ago < 0 || ago >= wallTTL { // below 0 if a synctest bubble made that reading
		return s.readWall(passed)
	}
	return (s.wallOffset.Load() + int64(passed)) / int64(time.Millisecond), s.withSuspended(passed)
}

// WallMilli implements Cached.
func (s *System) WallMilli() int64 {
	wall, _ := s.readWall(time.Since(s.start))
	return wall
}

// readWall is ReadCached with a new reading of the clock, which it caches; passed is the time
// since start. It stores the offset before the instant of the reading, so that a reader of the
// instant sees that offset or a newer one.
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
