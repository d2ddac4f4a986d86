//go:build race

package lapsetest

// Race says whether the race detector runs.
const Race = true
