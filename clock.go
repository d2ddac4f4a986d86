package lapse

import (
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
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

// Now returns the time that decisions see, in UTC and to the millisecond. It is what to
// give Token.Live for a token that a list returned: after the clock was set back it
// agrees with Authenticate, and Config.Clock does not.
func (m *Manager) Now() time.Time { return m.now() }

// now is the only reader of the clock, and what it returns the only time that
// decisions see: it never goes back but under GuardOff. Without a monotonic reading a
// suspended machine cannot lengthen a life, and whole milliseconds are what every store
// can keep, so that all of them agree on every instant.
func (m *Manager) now() time.Time {
	if m.time == nil {
		return steady.Normalise(m.clock.Now())
	}
	return m.time.Now()
}
