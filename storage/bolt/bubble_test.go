package bolt

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// useInBubble calls every method of s, in a bubble of testing/synctest, where a channel must not
// be used from outside that was made inside.
func useInBubble(t *testing.T, s *Store, from int) {
	ctx := t.Context()
	told := watching(t, s)
	for n := range 2 * directGroups {
		put(t, s, record(from+n))
		if c := <-told; c.ID != record(from+n).ID {
			t.Errorf("told of %+v; want record %d", c, from+n)
		}
	}
	use := by(record(from), time.Minute)
	if err := s.Touch(ctx, record(from).ID, use); err != nil {
		t.Errorf("Touch: %v", err)
	}
	limited, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.Update(limited, record(from).Subject, func(tx storage.Tx) error { return tx.Delete(record(from + 1).ID) }); err == nil {
		t.Error("Update deleted a record of another subject")
	}
	if err := deleting(s, record(from+1)); err != nil {
		t.Errorf("Delete: %v", err)
	}
	if n, err := s.Sweep(limited, record(from+2).ExpiresAt.Add(time.Nanosecond), 1); err != nil {
		t.Errorf("Sweep: %d, %v", n, err)
	}
	contents(t, s)
	backup(t, s)
	if err := s.Compact(limited); err != nil {
		t.Errorf("Compact: %v", err)
	}
	failCommit(s, syncLost)
	if err := putting(s, ended(record(from+5))); !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("Update: %v; want ErrOutcomeUnknown", err)
	}
	for c := range told {
		if c.ID == record(from+5).ID {
			break
		}
	}
	failCommit(s, func(func() error) error { return errDisk })
	if err := putting(s, record(from+6)); !errors.Is(err, errDisk) {
		t.Errorf("Update: %v; want what made it fail", err)
	}
	time.Sleep(time.Hour) // the clock of the bubble goes on while a watcher waits
	put(t, s, record(from+3))
}

// TestStoreFromOutsideTheBubble: a store that was opened outside, in TestMain for one, is used in
// one bubble and in another, and outside.
func TestStoreFromOutsideTheBubble(t *testing.T) {
	inBoth(t, Options{FlushEvery: time.Millisecond}, func(t *testing.T, opts *Options) {
		path, _ := makeFile(t, 3)
		s := open(t, path, opts)
		for bubble := range 2 {
			synctest.Test(t, func(t *testing.T) { useInBubble(t, s, 100*(bubble+1)) })
		}
		put(t, s, record(4))
		if err := s.Compact(context.Background()); err != nil { // which closes the file that a Backup has read
			t.Errorf("Compact: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		open(t, path, opts)
	})
}

// TestStoreInsideTheBubble is opened and closed there.
func TestStoreInsideTheBubble(t *testing.T) {
	inBoth(t, Options{}, func(t *testing.T, opts *Options) {
		path, _ := makeFile(t, 3)
		synctest.Test(t, func(t *testing.T) {
			s := open(t, path, opts)
			useInBubble(t, s, 100)
			if err := s.Close(); err != nil {
				t.Errorf("Close: %v", err)
			}
		})
	})
}
