package bolt

import (
	"context"
	"errors"
	"io"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/recovery"
)

// TestBackupThatCannotSayOpen: a Backup that has the file say that it is whole, and cannot have it
// say otherwise again, does not leave it so for the next group: a log that is lost then is missed.
func TestBackupThatCannotSayOpen(t *testing.T) {
	path, _ := makeFileIn(t, quickDir(t), 0)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(1))
	s.tree.Turn.Take()
	whole := false
	s.tree.CommitTx = func(btx *bbolt.Tx) error {
		if whole && !s.tree.State.NeedsLog {
			return errDisk
		}
		whole = true
		return btx.Commit()
	}
	s.tree.Turn.Give()
	if err := s.Backup(context.Background(), io.Discard); !errors.Is(err, errDisk) {
		t.Fatalf("Backup: %v; want the error of the disk", err)
	}
	s.tree.Turn.Take()
	s.tree.CommitTx = (*bbolt.Tx).Commit
	s.tree.Turn.Give()
	put(t, s, ended(record(1)))
	to := filepath.Join(quickDir(t), "tokens.db")
	copyFile(t, path, to) // a crash, and the log is lost
	if _, err := Open(to, nil); !errors.Is(err, recovery.ErrLogMissing) {
		t.Errorf("opened without its log: %v", err)
	}
}

// TestBackupOnAFrozenDisk returns at its deadline, also while it waits for the disk.
func TestBackupOnAFrozenDisk(t *testing.T) {
	path, _ := makeFileIn(t, quickDir(t), 3)
	s := open(t, path, &lazy)
	g := stop(t, s)
	touch(t, s, record(1), by(record(1), time.Minute))
	ctx, cancel := context.WithCancel(t.Context())
	done := async(func() error { return s.Backup(ctx, io.Discard) })
	<-g.arrived
	cancel()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("Backup: %v; want the error of its context", err)
	}
	close(g.open)
}
