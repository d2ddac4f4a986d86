//go:build race

package table

// raceEnabled makes the long tests shorter: the race detector makes them slow.
const raceEnabled = true
