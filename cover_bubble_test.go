package lapse_test

import "time"

// bubbleClock is the time of a bubble.
type bubbleClock struct{}

func (bubbleClock) Now() time.Time                         { return time.Now() }
func (bubbleClock) After(d time.Duration) <-chan time.Time { return time.After(d) }
func (bubbleClock) add(d time.Duration)                    { time.Sleep(d) }

func (w *world) settle(*model) error { return nil }
