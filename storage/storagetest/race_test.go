//go:build race

package storagetest

// raceEnabled makes the search for flaws shorter: the race detector makes it slow.
const raceEnabled = true
