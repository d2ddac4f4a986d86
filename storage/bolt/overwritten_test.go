package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestBackupCopiedOverTheOpenFile: a store whose file another program has overwritten in place
// says so at its next write, acknowledges nothing any more, and leaves the file as it was put.
func TestBackupCopiedOverTheOpenFile(t *testing.T) {
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFileIn(t, quickDir(t), 0)
		s := open(t, path, opts)
		put(t, s, record(1))
		var old bytes.Buffer
		if err := s.Backup(context.Background(), &old); err != nil {
			t.Fatal(err)
		}
		put(t, s, record(2))
		if err := s.checkpointIfLogged(); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, old.Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if err := putting(s, record(3)); !errors.Is(err, ErrReplaced) || !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("Update: %v; want ErrReplaced and ErrUnavailable", err)
			}
		}
		if err := s.Stats().Err; !errors.Is(err, ErrReplaced) {
			t.Errorf("Stats.Err: %v; want ErrReplaced", err)
		}
		if _, err := s.Get(context.Background(), record(2).ID); err != nil {
			t.Errorf("Get: %v; reads go on", err)
		}
		s.Close() // it says that something is not in the file, or nothing
		if !bytes.Equal(readFile(t, path), old.Bytes()) {
			t.Error("the file is not as it was put")
		}
	})
}

// checkpointIfLogged has the file differ from any copy of before.
func (s *Store) checkpointIfLogged() error {
	if s.journal.current() == nil {
		return nil
	}
	return s.checkpoint(true)
}

// TestTwoStoresWithoutLocks: where locks do not work, a store notices that another one has
// written to its file, and undoes nothing of that.
func TestTwoStoresWithoutLocks(t *testing.T) {
	if !localfile.LocksEarly {
		t.Skip("the lock cannot be given up here")
	}
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFileIn(t, quickDir(t), 3)
		first := open(t, path, opts)
		if opts.logAtOnce {
			put(t, first, record(5))
		}
		if err := localfile.Unlock(first.tree.File); err != nil {
			t.Fatal(err)
		}
		second := open(t, path, opts)
		put(t, second, ended(record(1)))
		if err := putting(first, record(6)); !errors.Is(err, ErrReplaced) {
			t.Errorf("the first store: %v; want ErrReplaced", err)
		}
		first.Close()
		if err := second.Close(); err != nil {
			t.Logf("the second store: %v", err)
		}
		if got := shown(t, open(t, path, &Options{Repair: true}), record(1).ID); got.EndedAt.IsZero() {
			t.Error("an end that the second store wrote is undone")
		}
	})
}
