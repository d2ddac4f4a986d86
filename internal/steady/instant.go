package steady

import "time"

// The first and the last instant that lapse knows, in Unix milliseconds: those of the years 1 to
// 9999, without the zero Time, which means "not set".
const (
	FirstInstant = -62135596800_000 + 1
	LastInstant  = 253402300799_999
)

// Milli returns t in Unix milliseconds, rounded down, and moved to the nearest instant
// that lapse knows.
func Milli(t time.Time) int64 {
	sec := max(FirstInstant/1000-2, min(t.Unix(), LastInstant/1000+1)) // the milliseconds of a Time may overflow
	return max(FirstInstant, min(sec*1000+int64(t.Nanosecond())/int64(time.Millisecond), LastInstant))
}

// Normalise returns the instant of Milli as a Time in UTC without a monotonic reading.
func Normalise(t time.Time) time.Time { return time.UnixMilli(Milli(t)).UTC() }

// Add returns t+d for d >= 0, or the last instant that lapse knows if that is earlier.
func Add(t time.Time, d time.Duration) time.Time { return Normalise(t.Add(d)) }
