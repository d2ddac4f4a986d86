package table

import "flag"

var wholeTests = flag.Bool("whole", false, "the long tests run at full length")

// shorter returns short, or whole with -whole.
func shorter(whole, short int) int {
	if *wholeTests {
		return whole
	}
	return short
}
