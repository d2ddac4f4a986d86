package bolt

import (
	"sync"
	"testing"
)

// blockade stands between a store and its file: it lets a commit wait, and fail.
type blockade struct {
	arrived chan struct{} // closed when a commit has come
	open    chan struct{} // close it to let commits go on
	fail    error         // what they fail with; nothing is written then
}

// stop has every commit of s wait at the gate that it returns.
func stop(t *testing.T, s *Store) *blockade {
	t.Helper()
	d := &blockade{arrived: make(chan struct{}), open: make(chan struct{})}
	var once sync.Once
	onWrite(s, func(do func() error) error {
		once.Do(func() { close(d.arrived) })
		<-d.open
		if d.fail != nil {
			return d.fail
		}
		return do()
	})
	return d
}

// onWrite has f write the groups of s: do makes one durable, and what f returns is what s
// hears. A group that do made durable although f says otherwise stays where it is.
func onWrite(s *Store, f func(do func() error) error) {
	s.turn.Take()
	defer s.turn.Give()
	s.disk = f
}
