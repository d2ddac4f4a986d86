//go:build !linux

package steady

import "time"

// suspended is not known here. On Windows Go's monotonic clock goes on while the
// machine sleeps; elsewhere what it sleeps counts once the clock of the day says so.
func suspended() (least, most time.Duration) { return 0, 0 }
