package lapse

import "time"

// Clock tells a Manager the time. It must be safe for concurrent use. It may go
// backwards, but nothing that is stored is ever shortened or lengthened by that.
// *clock.Mock of github.com/benbjohnson/clock is a Clock as it is, and so is
// anything else with these two methods.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// systemClock is what a nil Config.Clock means. In a testing/synctest bubble it
// follows the bubble's time.
type systemClock struct{}

func (systemClock) Now() time.Time                         { return time.Now() }
func (systemClock) After(d time.Duration) <-chan time.Time { return time.After(d) }

// now is the only reader of the clock. Without a monotonic reading a suspended
// machine cannot lengthen a life, and whole milliseconds are what every store
// can keep, so that all of them agree on every instant.
func (m *Manager) now() time.Time { return normalise(m.clock.Now()) }

// The instants that lapse knows, in Unix milliseconds: years 1 to 9999, without
// the zero Time, which means "not set" wherever an instant may be missing.
const (
	firstInstant = -62135596800_000 + 1
	lastInstant  = 253402300799_999
)

// normalise returns t in UTC, rounded down to the millisecond, without a
// monotonic reading, and moved to the nearest instant that lapse knows.
func normalise(t time.Time) time.Time {
	sec, nsec := t.Unix(), t.Nanosecond()
	switch {
	case sec < (firstInstant-1)/1000, sec == (firstInstant-1)/1000 && nsec < int(time.Millisecond):
		return time.UnixMilli(firstInstant).UTC()
	case sec > lastInstant/1000:
		return time.UnixMilli(lastInstant).UTC()
	}
	return time.Unix(sec, int64(nsec-nsec%int(time.Millisecond))).UTC()
}

// add returns t+d for d >= 0, the last instant lapse knows at most.
func add(t time.Time, d time.Duration) time.Time { return normalise(t.Add(d)) }
