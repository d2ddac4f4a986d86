package bolt

import (
	"context"
	"errors"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// usedInFile returns when the file says that record n was used last, whoever has it
// open.
func usedInFile(t *testing.T, path string, n int) time.Time {
	t.Helper()
	copied := filepath.Join(t.TempDir(), "copy.db")
	copyStoreFiles(t, path, copied)
	s, err := Open(copied, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r, err := s.Get(context.Background(), record(n).ID)
	if err != nil {
		t.Fatal(err)
	}
	return r.LastUsedAt
}

// TestFlushWaitsForAHeldWrite: what was touched under a write that is not durable yet
// is flushed after it, not left for another time.
func TestFlushWaitsForAHeldWrite(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 3)
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(path, &Options{FlushEvery: time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		disk := stop(t, s)
		r, writing, flushing := record(1), make(chan error, 1), make(chan error, 2)
		go func() {
			writing <- s.Update(ctx, r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
		}()
		<-disk.arrived
		used := r.IssuedAt.Add(time.Minute)
		if err := s.Touch(ctx, r.ID, storage.Use{At: used}); err != nil {
			t.Fatal(err)
		}
		for range cap(flushing) { // the second one finds nothing that the first has not taken
			go func() { flushing <- s.flush() }()
		}
		synctest.Wait()
		if len(flushing) != 0 || s.Stats().Unsaved == 0 {
			t.Errorf("%d flushes are done before anything is written, unsaved %v", len(flushing), s.Stats().Unsaved)
		}
		close(disk.open)
		if err := errors.Join(<-writing, <-flushing, <-flushing); err != nil {
			t.Error(err)
		}
		if got := usedInFile(t, path, 1); !got.Equal(used) || s.Stats().Unsaved > 0 {
			t.Errorf("last used %v, unsaved %v; want %v", got, s.Stats().Unsaved, used)
		}
	})
}

// TestFlushEndsUnderTouches: one that is under way does not go on with what is touched
// meanwhile: here all records are, in every commit.
func TestFlushEndsUnderTouches(t *testing.T) {
	path, _ := makeFile(t, 2*flushStep+1)
	s := open(t, path, &Options{FlushEvery: time.Hour})
	commits := 0
	touch := func() {
		for n := range 2*flushStep + 1 {
			if err := s.Touch(context.Background(), record(n).ID, storage.Use{At: record(n + commits).IssuedAt}); err != nil {
				t.Error(err)
			}
		}
	}
	onWrite(s, func(do func() error) error {
		if commits++; commits <= 3 {
			touch()
		}
		return do()
	})
	touch()
	if err := s.flush(); err != nil || commits != 3 {
		t.Errorf("%v, and %d commits; want 3 of them", err, commits)
	}
	if s.Stats().Unsaved == 0 {
		t.Error("what was touched meanwhile is forgotten")
	}
}

// TestFlushThatFailsAgain: nothing is forgotten, whatever part of it failed.
func TestFlushThatFailsAgain(t *testing.T) {
	for fails := range 4 {
		path, _ := makeFile(t, 2*flushStep+1)
		s := open(t, path, &Options{FlushEvery: time.Hour})
		commits := 0
		onWrite(s, func(do func() error) error {
			if commits++; commits == fails+1 {
				return errDisk
			}
			return do()
		})
		used := record(0).ExpiresAt
		for n := range 2*flushStep + 1 {
			if err := s.Touch(context.Background(), record(n).ID, storage.Use{At: used}); err != nil {
				t.Fatal(err)
			}
		}
		err := s.flush()
		if failed := fails < 3; failed != (errors.Is(err, errDisk) && errors.Is(err, storage.ErrUnavailable)) || failed != (s.Stats().Unsaved > 0) {
			t.Errorf("step %d fails: %v, unsaved %v", fails+1, err, s.Stats().Unsaved)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		records, _ := contents(t, open(t, path, nil))
		for n := range 2*flushStep + 1 {
			if got := records[record(n).ID].LastUsedAt; !got.Equal(used) {
				t.Fatalf("step %d fails: record %d was used last %v; want %v", fails+1, n, got, used)
			}
		}
	}
}

// TestFlushUnderWritersWithoutEnd: a record that is always being written anew holds
// no flush up for ever: what is put after a Touch has it in it.
func TestFlushUnderWritersWithoutEnd(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 3)
	s := open(t, path, &Options{FlushEvery: time.Hour})
	var writers sync.WaitGroup
	quit := make(chan struct{})
	for range 4 {
		writers.Go(func() {
			for n := 0; ; n++ {
				err := s.Update(ctx, record(1).Subject, func(tx storage.Tx) error {
					r, err := tx.Get(record(1).ID)
					r.Name = strconv.Itoa(n)
					return errors.Join(err, tx.Put(r))
				})
				if err != nil {
					t.Error(err)
					return
				}
				select {
				case <-quit:
					return
				default:
				}
			}
		})
	}
	for n := range sample.Of(50, 15) {
		used := record(n).ExpiresAt
		if err := s.Touch(ctx, record(1).ID, storage.Use{At: used}); err != nil {
			t.Fatal(err)
		}
		records, _ := contents(t, openCopy(t, backup(t, s)))
		if got := records[record(1).ID].LastUsedAt; !got.Equal(used) {
			t.Errorf("touched for the %d. time, the copy has %v; want %v", n, got, used)
		}
	}
	close(quit)
	writers.Wait()
}
