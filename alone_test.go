package lapse

import "testing"

// alone skips, under the race detector, a long test in which one goroutine does everything:
// the detector has nothing to find there, and makes the test take many times as long.
func alone(t *testing.T) {
	t.Helper()
	if raceEnabled {
		t.Skip("one goroutine: nothing for the race detector")
	}
}
