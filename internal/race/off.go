//go:build !race

package race

// Enabled reports whether the race detector runs. Tests that count allocations skip then, since
// the detector allocates too.
const Enabled = false
