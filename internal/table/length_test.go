package table

import "flag"

var wholeTests = flag.Bool("whole", false, "with -race, too, the long tests are as long as without it")

// shorter returns usual, and race under the race detector without -whole.
func shorter(usual, race int) int {
	if raceEnabled && !*wholeTests {
		return race
	}
	return usual
}
