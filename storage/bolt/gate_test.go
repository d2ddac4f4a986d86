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
	s.turn.Take()
	s.crowded = true // or who comes first writes by itself
	onWrite(s, func(do func() error) error {
		once.Do(func() { close(d.arrived) })
		<-d.open
		if d.fail != nil {
			return d.fail
		}
		return do()
	})
	s.turn.Give()
	return d
}

// onWrite has f write the frames of s: do makes one durable, and what f returns is what
// s hears. A frame that is in the file although f said otherwise stays there.
func onWrite(s *Store, f func(do func() error) error) {
	s.log.journal.write = func(j *journal, b []byte, at int64) error {
		if journalName(b[8:]) == (journalName{}) { // it is to be erased
			return errDisk
		}
		return f(func() error { return j.writeThrough(b, at) })
	}
}
