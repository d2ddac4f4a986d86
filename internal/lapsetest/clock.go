package lapsetest

import (
	"sync/atomic"
	"time"
)

// Start is the instant at which a StepClock starts. It has a part below the millisecond, so that
// rounding is exercised, and is not the zero of any count.
var Start = time.Date(2026, 1, 5, 9, 0, 0, 123_456_789, time.UTC)

// StartMilli is Start as lapse sees it.
var StartMilli = Start.Truncate(time.Millisecond)

// StepClock is a clock that stands still until it is told to move. The mock of
// benbjohnson/clock would do, but sleeps a real millisecond for every step.
type StepClock struct{ nano atomic.Int64 }

// NewClock returns a clock that stands at Start.
func NewClock() *StepClock {
	c := new(StepClock)
	c.Set(Start)
	return c
}

// Now returns the instant at which c stands.
func (c *StepClock) Now() time.Time { return time.Unix(0, c.nano.Load()) }

// After returns nil: no time passes by itself.
func (c *StepClock) After(time.Duration) <-chan time.Time { return nil }

// Set moves c to t.
func (c *StepClock) Set(t time.Time) { c.nano.Store(t.UnixNano()) }

// Add moves c forward by d.
func (c *StepClock) Add(d time.Duration) { c.nano.Add(int64(d)) }
