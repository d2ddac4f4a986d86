package lapsehttp

import "time"

// SetGrace sets how long handlers behind Stream may go on after their context has ended.
func (g *Guard) SetGrace(d time.Duration) { g.grace = d }
