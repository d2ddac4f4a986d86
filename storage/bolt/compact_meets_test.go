package bolt

import (
	"go.etcd.io/bbolt"

	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestCompactThatFailsAlone: what waits behind a compaction that fails has not gone by
// it, and is written.
func TestCompactThatFailsAlone(t *testing.T) {
	path, _ := makeFile(t, 10)
	long := filepath.Join(filepath.Dir(path), strings.Repeat("n", 250)) // no room for a temporary name
	if err := os.Rename(path, long); err != nil {
		t.Fatal(err)
	}
	s, err := Open(long, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	g := holdCommits(t, s)
	first := async(func() error { return putting(s, record(20)) })
	<-g.arrived
	compacts := async(func() error { return s.Compact(context.Background()) })
	awaitWaiting(s, 1)
	behind := async(func() error { return putting(s, record(21)) })
	awaitWaiting(s, 2)
	letCommits(s)
	g.release <- nil
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	if err := <-compacts; !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Compact: %v; want ErrUnavailable", err)
	}
	if err := <-behind; err != nil {
		t.Errorf("what waited behind: %v", err)
	}
}

// TestCompactMeetsAnOpener: who waits for the lock while the file is compacted gets the
// new file, and only after Close.
func TestCompactMeetsAnOpener(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("needs /proc to see who has the file open")
	}
	path, _ := makeFile(t, 10)
	first, err := Open(path, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	var second *Store
	opening := async(func() (err error) {
		second, err = Open(path, &Options{LockTimeout: time.Minute})
		return err
	})
	for openings(t, path) < 2 {
		runtime.Gosched()
	}
	if err := first.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	put(t, first, ended(record(1)))
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if err := <-opening; err != nil {
		t.Fatal(err)
	}
	defer second.Close()
	if got := shown(t, second, record(1).ID); got != ended(record(1)) {
		t.Errorf("the second store has %+v; want it ended", got)
	}
	put(t, second, record(20))
}

// openings returns how often this process has the file at path open.
func openings(t *testing.T, path string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && to == path {
			n++
		}
	}
	return n
}

type stalls struct{ arrived, release chan struct{} }

func (w stalls) Write(p []byte) (int, error) {
	w.arrived <- struct{}{}
	<-w.release
	return len(p), nil
}

// TestCompactGivesUpWaiting for a copy that is slow, when its context ends.
func TestCompactGivesUpWaiting(t *testing.T) {
	s := openNew(t, &lazy)
	w := stalls{make(chan struct{}, 100), make(chan struct{})}
	backup := async(func() error { return s.Backup(w) })
	<-w.arrived
	ctx, cancel := context.WithCancel(context.Background())
	compacts := async(func() error { return s.Compact(ctx) })
	for range 1000 {
		runtime.Gosched()
	}
	cancel()
	select {
	case err := <-compacts:
		if !errors.Is(err, context.Canceled) {
			t.Errorf("Compact: %v; want the context's", err)
		}
	case <-time.After(10 * time.Second):
		t.Error("Compact goes on waiting")
	}
	close(w.release)
	if err := <-backup; err != nil {
		t.Error(err)
	}
}

// TestBackupDoesNotWaitForEver: renewals that come as fast as they are flushed do not
// keep a copy from being made.
func TestBackupUnderTouches(t *testing.T) {
	path, _ := makeFile(t, 10)
	s, err := Open(path, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, n := record(1), 0
	touch(t, s, r, by(r, time.Second))
	s.turn <- struct{}{}
	s.log.commitTx = func(btx *bbolt.Tx) error {
		if n++; n < 1000 {
			s.table.Touch(r.ID, by(r, time.Duration(n+1)*time.Minute))
		}
		return btx.Commit()
	}
	<-s.turn
	if err := s.Backup(new(discard)); err != nil {
		t.Fatal(err)
	}
	if n > 100 {
		t.Errorf("%d commits before the copy began", n)
	}
}

// TestStaleBehindALink: what a crash in Compact left beside the file is removed, also
// where the store is opened by a link.
func TestStaleBehindALink(t *testing.T) {
	path, _ := makeFile(t, 1)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	stale := filepath.Join(filepath.Dir(path), strings.TrimSuffix(tempPattern(path), "*")+"123")
	if err := os.WriteFile(stale, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(link, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
