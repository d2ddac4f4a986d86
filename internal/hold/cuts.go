package hold

import (
	"sync"
	"time"
)

// maxCuts is how many cuts can wait until Observe is told of them. If Observe hangs, later cuts are
// counted and not told.
const maxCuts = 1 << 20

// Cuts are the cuts of held connections that Observe is to be told of. One goroutine at a time tells
// of them, one after the other: a logout of many connections is many events at once.
type Cuts struct {
	mu      sync.Mutex
	waiting []Cut
	telling bool // the goroutine runs
}

// Cut is the end of a held connection by cause.
type Cut struct {
	At    time.Time
	Cause error
}

// Add adds all to the cuts that wait, and reports whether the caller is to start the goroutine.
func (c *Cuts) Add(all []Cut) (start bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.waiting = append(c.waiting, all[:min(len(all), maxCuts-len(c.waiting))]...)
	start = !c.telling && len(c.waiting) > 0
	c.telling = c.telling || start
	return start
}

// Take returns the cuts that wait. If there are none, the goroutine is over.
func (c *Cuts) Take() []Cut {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := c.waiting
	c.waiting = nil
	c.telling = len(all) > 0
	return all
}
