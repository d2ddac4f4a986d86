package lapsetest

import (
	"testing"
)

// Alone skips, under the race detector, a long test in which one goroutine does everything.
func Alone(t *testing.T) {
	t.Helper()
	if Race {
		t.Skip("one goroutine: nothing for the race detector")
	}
}
