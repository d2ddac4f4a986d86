package bolt

import (
	"runtime"
)

// awaitNothing gives others the time to go wrong.
func awaitNothing() {
	for range 10_000 {
		runtime.Gosched()
	}
}
