package bolt

import (
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// closing waits until Close of s has begun, and is where it will say what.
func closing(s *Store) chan error {
	done := async(s.Close)
	<-s.closed
	for range 1000 {
		runtime.Gosched()
	}
	return done
}

// TestCloseWhileTheKeeperFlushes: Close comes back, though the keeper finds more to
// flush when there is nobody to write it.
func TestCloseWhileTheKeeperFlushes(t *testing.T) {
	t.Parallel()
	for range sample.Of(100, 30) {
		path, _ := makeFileIn(t, quickDir(t), 3)
		s, err := Open(path, &Options{FlushEvery: time.Millisecond})
		if err != nil {
			t.Fatal(err)
		}
		g := holdCommits(t, s)
		first := async(func() error { return putting(s, record(20)) })
		<-g.arrived
		touch(t, s, record(0), by(record(0), time.Minute))
		awaitWaiting(s, 1) // the flush of it
		renamed := record(1)
		renamed.Name = "another"
		second := async(func() error { return putting(s, renamed) })
		awaitWaiting(s, 2)
		touch(t, s, record(1), by(record(1), time.Minute))
		closed := closing(s)
		letCommits(s)
		g.release <- nil
		if err := errors.Join(<-first, <-second); err != nil {
			t.Fatal(err)
		}
		select {
		case err := <-closed:
			if err != nil {
				t.Fatal(err)
			}
		case <-time.After(2 * time.Minute):
			t.Fatal("Close does not come back")
		}
	}
}

// TestCloseSaysThatAnEndMayBeLost, also of one that was being written when it began.
func TestCloseSaysThatAnEndMayBeLost(t *testing.T) {
	path, _ := makeFile(t, 3)
	s, err := Open(path, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	g := holdCommits(t, s)
	ends := async(func() error { return putting(s, ended(record(1))) })
	<-g.arrived
	closed := closing(s)
	onWrite(s, func(func() error) error { return errDisk })
	g.release <- errUnknown
	if err := <-ends; !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	if err := <-closed; !errors.Is(err, errDisk) {
		t.Errorf("Close: %v; want an error: the end may not be in the file", err)
	}
}

// TestFlushMeetsClose: a flush that comes too late says so, even if something could
// not be written before: there is nobody to write it.
func TestFlushMeetsClose(t *testing.T) {
	path, _ := makeFile(t, 3)
	s, err := Open(path, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	touch(t, s, record(1), by(record(1), time.Minute))
	failCommit(s, func(func() error) error { return errDisk })
	if err := s.Close(); err == nil {
		t.Error("Close: nil; want an error")
	}
	select {
	case err := <-async(func() error { return s.flush() }): // of a Backup that began before
		if !errors.Is(err, storage.ErrClosed) {
			t.Errorf("flush: %v; want ErrClosed", err)
		}
	case <-time.After(2 * time.Minute):
		t.Fatal("the flush does not come back")
	}
}

// TestLaterPutLowers: an update that lowers an expiry which one before it, not
// durable yet, has raised, is not taken for one that has missed a Touch.
func TestLaterPutLowers(t *testing.T) {
	s := openNew(t, &lazy)
	put(t, s, record(1))
	g := holdCommits(t, s)
	first := async(func() error { return putting(s, record(20)) })
	<-g.arrived
	longer, shorter := record(1), record(1)
	longer.ExpiresAt = longer.ExpiresAt.Add(time.Hour)
	shorter.ExpiresAt = shorter.ExpiresAt.Add(time.Minute)
	shorter.MaxExpiresAt = shorter.ExpiresAt
	second := async(func() error { return putting(s, longer) })
	awaitWaiting(s, 1)
	third := async(func() error { return putting(s, shorter) })
	awaitWaiting(s, 2)
	letCommits(s)
	g.release <- nil
	if err := errors.Join(<-first, <-second, <-third); err != nil {
		t.Fatal(err)
	}
	if got := shown(t, s, shorter.ID); !got.Equal(shorter) {
		t.Errorf("shown: %+v; want %+v", got, shorter)
	}
	if n := s.Stats().Unsaved; n != 0 {
		t.Errorf("%d are unsaved; want 0", n)
	}
}
