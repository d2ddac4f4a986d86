package bolt

import (
	"errors"
	"sync"
	"testing"

	"go.etcd.io/bbolt"
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
	s.turn <- struct{}{}
	s.crowded = true // or who comes first writes by itself
	s.log.commitTx = func(btx *bbolt.Tx) error {
		once.Do(func() { close(d.arrived) })
		<-d.open
		if d.fail != nil {
			return errors.Join(d.fail, btx.Rollback())
		}
		return btx.Commit()
	}
	<-s.turn
	return d
}
