package bolt

import (
	"context"
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// loseCommit makes the next commit of s one of unknown outcome, and the path lead nowhere
// until the function that it returns is called.
func loseCommit(t *testing.T, s *Store, happens bool) (restore func()) {
	t.Helper()
	path := s.tree.Path
	failCommit(s, func(do func() error) error {
		var err error
		if happens {
			err = do()
		}
		return errors.Join(err, os.Rename(path, path+".away"), errUnknown)
	})
	return func() {
		if err := os.Rename(path+".away", path); err != nil {
			t.Error(err)
		}
	}
}

func end(s *Store, n int) error {
	return s.Update(context.Background(), record(n).Subject, func(tx storage.Tx) error {
		r, err := tx.Get(record(n).ID)
		if err != nil {
			return err
		}
		r.EndedAt, r.EndReason = r.IssuedAt, storage.EndRevoked
		return tx.Put(r)
	})
}

// TestTroubleEndsWithinASecond, however seldom renewals are flushed.
func TestTroubleEndsWithinASecond(t *testing.T) {
	for _, every := range []time.Duration{time.Millisecond, time.Second, time.Hour, FlushAtOnce} {
		path, _ := makeFile(t, 3)
		synctest.Test(t, func(t *testing.T) {
			s, err := Open(path, &Options{FlushEvery: every})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if every != FlushAtOnce { // there is something to flush, and a timer for it
				if err := s.Touch(context.Background(), record(0).ID, storage.Use{At: record(0).ExpiresAt}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
			}
			restore := loseCommit(t, s, true)
			if err := end(s, 1); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Fatalf("Update: %v; want ErrOutcomeUnknown", err)
			}
			if err := end(s, 2); !errors.Is(err, storage.ErrUnavailable) || s.Stats().Err == nil {
				t.Errorf("FlushEvery %v: Update in time of trouble: %v; Stats: %v", every, err, s.Stats().Err)
			}
			time.Sleep(5 * time.Second)
			restore()
			time.Sleep(time.Second)
			synctest.Wait()
			if err := s.Stats().Err; err != nil {
				t.Errorf("FlushEvery %v: a second after the file is back: %v", every, err)
			}
			if err := end(s, 2); err != nil {
				t.Errorf("FlushEvery %v: Update after the trouble: %v", every, err)
			}
		})
	}
}

// TestTroubleIsLookedAtEverySecond, and no more often, however often renewals are flushed.
func TestTroubleIsLookedAtEverySecond(t *testing.T) {
	for _, every := range []time.Duration{time.Millisecond, time.Hour} {
		path, _ := makeFile(t, 3)
		synctest.Test(t, func(t *testing.T) {
			s, err := Open(path, &Options{FlushEvery: every})
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			tries := 0
			onWrite(s, func(func() error) error { tries++; return errUnknown })
			defer letCommits(s)
			if err := end(s, 1); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Fatalf("Update: %v; want ErrOutcomeUnknown", err)
			}
			for n := range 10_000 {
				if err := s.Touch(context.Background(), record(0).ID, storage.Use{At: record(n).IssuedAt}); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Millisecond)
			}
			synctest.Wait()
			if tries < 10 || tries > 12 {
				t.Errorf("FlushEvery %v: tried %d times in 10 seconds; want 10, and the first", every, tries)
			}
		})
	}
}
