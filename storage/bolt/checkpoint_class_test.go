package bolt

import (
	"errors"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// onCommit has f do the commits of the tree.
func onCommit(s *Store, f func(*bbolt.Tx) error) {
	s.tree.Turn.Take()
	defer s.tree.Turn.Give()
	s.tree.CommitTx = f
}

// TestCheckpointErrSaysWhy as Stats.Err does.
func TestCheckpointErrSaysWhy(t *testing.T) {
	s := openNew(t, &Options{logAtOnce: true})
	put(t, s, record(1))
	onCommit(s, func(*bbolt.Tx) error { return syscall.ENOSPC })
	defer onCommit(s, (*bbolt.Tx).Commit)
	s.checkpoint(true)
	if err := s.Stats().CheckpointErr; !errors.Is(err, ErrDiskFull) || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("CheckpointErr: %v; want ErrDiskFull with ErrUnavailable", err)
	}
}

// TestLogThatCannotBegin: a group that waits for a log has an outcome, whatever is unknown of
// the transaction that has to come before the log.
func TestLogThatCannotBegin(t *testing.T) {
	s := openNew(t, &Options{logAtOnce: true, FlushEvery: lazy.FlushEvery})
	n := 0
	onCommit(s, func(btx *bbolt.Tx) error {
		if n++; n == 2 {
			return errDisk
		}
		return btx.Commit()
	})
	s.tree.Turn.Take()
	s.tree.Suspect = errDisk
	s.tree.Turn.Give()
	if err := putting(s, record(1)); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("Update: %v; want ErrUnavailable: nothing of it was written", err)
	}
	put(t, s, record(1))
}
