package bolt

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// stalled begins a Backup whose writer has stopped, and returns what lets it go, and where its
// error will be.
func stalled(t *testing.T, s *Store) (release func(), done chan error) {
	t.Helper()
	r, w := io.Pipe()
	t.Cleanup(func() { r.Close() })
	done = async(func() error { return s.Backup(context.Background(), w) })
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return func() { go io.Copy(io.Discard, r) }, done
}

// TestStalledBackup: nothing waits for the writer of a Backup but what copies the file, too, and
// that only as long as its context: not a write, nor one of unknown outcome, not a checkpoint,
// and not Close.
func TestStalledBackup(t *testing.T) {
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFileIn(t, quickDir(t), 300)
		s := open(t, path, opts)
		release, done := stalled(t, s)
		put(t, s, record(1000))
		failCommit(s, syncLost)
		if err := putting(s, ended(record(8)), record(1002)); !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Errorf("Update: %v; want ErrOutcomeUnknown", err)
		}
		put(t, s, record(1001))
		inFile(t, s, record(1001).ID) // a checkpoint
		if st := s.Stats(); st.Err != nil || st.Tokens != 302 {
			t.Errorf("Stats: %+v", st)
		}
		for name, call := range map[string]func(context.Context) error{
			"Compact": s.Compact, "Backup": func(ctx context.Context) error { return s.Backup(ctx, io.Discard) },
		} {
			ctx, cancel := context.WithCancel(t.Context())
			waits := async(func() error { return call(ctx) })
			cancel()
			if err := <-waits; !errors.Is(err, context.Canceled) {
				t.Errorf("%s: %v; want the error of its context", name, err)
			}
		}
		waits := async(func() error { return s.Backup(t.Context(), io.Discard) })
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if err := <-waits; !errors.Is(err, storage.ErrClosed) {
			t.Errorf("a second Backup: %v; want ErrClosed", err)
		}
		release()
		if err := <-done; !errors.Is(err, storage.ErrClosed) {
			t.Errorf("the Backup: %v; want ErrClosed", err)
		}
		if got := shown(t, open(t, path, opts), record(8).ID); !got.Equal(ended(record(8))) {
			t.Errorf("reopened: %+v; want the end", got)
		}
	})
}

// TestStalledBackupWhileBboltIsOpenedAgain: a commit of bbolt that fails has bbolt opened again,
// which cuts a Backup off and does not wait for its writer.
func TestStalledBackupWhileBboltIsOpenedAgain(t *testing.T) {
	path, _ := makeFileIn(t, quickDir(t), 300)
	s := open(t, path, &Options{NoLog: true})
	release, done := stalled(t, s)
	failTree(s, 1, true)
	if err := putting(s, ended(record(8))); !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("Update: %v; want ErrOutcomeUnknown", err)
	}
	put(t, s, record(1001))
	if got := inFile(t, s, record(8).ID); !got.Equal(ended(record(8))) {
		t.Errorf("in the file: %+v; want the end", got)
	}
	release()
	if err := <-done; !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("the Backup: %v; want ErrUnavailable", err)
	}
	backup(t, s)
}

// TestBackupEndsWithItsContext, with the error of it, when its writer returns.
func TestBackupEndsWithItsContext(t *testing.T) {
	path, _ := makeFileIn(t, quickDir(t), 300)
	s := open(t, path, &lazy)
	r, w := io.Pipe()
	ctx, cancel := context.WithCancelCause(t.Context())
	done := async(func() error { return s.Backup(ctx, w) })
	if _, err := r.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	cancel(errDisk)
	awaitEnded(s)
	go io.Copy(io.Discard, r)
	if err := <-done; !errors.Is(err, errDisk) {
		t.Errorf("Backup: %v; want the cause of its context", err)
	}
	backup(t, s)
}

// awaitEnded waits until the transaction of the Backup of s has ended, whose writer hangs.
func awaitEnded(s *Store) {
	for s.tree.Reader.Tx.Load() != nil {
		runtime.Gosched()
	}
}
