package loglimit

import (
	"fmt"
	"testing"
	"time"
)

// TestPrefixesAreBounded: a Limit keeps the minutes of MaxPrefixes prefixes, and one for the others.
func TestPrefixesAreBounded(t *testing.T) {
	l := Limit{PerMinute: 1}
	for i := range 10 * MaxPrefixes {
		l.Take(&Event{Prefix: fmt.Sprintf("p%d", i), At: time.Unix(0, 0), Limited: true}, true)
	}
	if len(l.minutes) != MaxPrefixes+1 {
		t.Errorf("%d minutes; want %d", len(l.minutes), MaxPrefixes+1)
	}
}
