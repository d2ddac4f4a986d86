//go:build race

package bolt

// raceEnabled makes the campaigns shorter: the race detector makes them slow.
const raceEnabled = true
