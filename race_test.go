//go:build race

package lapse

// raceEnabled skips what counts allocations: the race detector makes its own.
const raceEnabled = true
