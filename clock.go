package lapse

import (
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
)

// Clock tells a Manager the time. It must be safe for concurrent use. It may go backwards,
// and the time that decisions see still does not (Config.ClockGuard). *clock.Mock of
// github.com/benbjohnson/clock is a Clock.
//
// A Clock may also have a method Elapsed() time.Duration, which returns how much time has
// passed since some instant, whatever the clock was set to meanwhile. It includes the time
// that the machine was suspended, where that can be known. Without this method a clock that
// was set back cannot be told from a clock that waits: time stands still until the clock has
// caught up. A mock is such a clock. Under GuardOff time goes back with the mock.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// Now returns the time that decisions see, in UTC and whole milliseconds. Give it to
// Token.Live for a token that a list returned: it agrees with Authenticate also after the
// clock was set back, when Config.Clock does not.
func (m *Manager) Now() time.Time { return m.now() }

// now returns the time that decisions see, and no decision sees another one. It never goes
// back, except under GuardOff. It has no monotonic reading, so that a suspended machine cannot
// lengthen a life, and it is in whole milliseconds, which every store can keep.
func (m *Manager) now() time.Time {
	if m.time == nil {
		return steady.Normalise(m.clock.Now())
	}
	return m.time.Now()
}
