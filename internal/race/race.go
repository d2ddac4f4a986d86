// Package race tells tests whether the race detector runs. Only tests import it.
package race

import "testing"

// Alone skips t under the race detector. It is for a long test in which one goroutine does
// everything: the detector has nothing to find there, and makes the test take many times as long.
func Alone(t *testing.T) {
	t.Helper()
	if Enabled {
		t.Skip("one goroutine: nothing for the race detector")
	}
}
