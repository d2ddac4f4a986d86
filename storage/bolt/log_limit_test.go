package bolt

import (
	"context"
	"errors"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// failTree has the next commits of bbolt fail, that many, or all if that is negative; they are
// written all the same if happens says so.
func failTree(s *Store, times int, happens bool) {
	s.tree.Turn.Take()
	defer s.tree.Turn.Give()
	s.tree.CommitTx = func(btx *bbolt.Tx) error {
		if times == 0 {
			return btx.Commit()
		}
		times--
		if happens {
			return errors.Join(btx.Commit(), errDisk)
		}
		return errDisk
	}
}

// TestLogAtItsLimit: while the log cannot be taken into the file, writing goes on until the log is
// as long as it may be, and then fails with the cause, and without anything written; when it
// can, writing goes on and nothing is lost.
func TestLogAtItsLimit(t *testing.T) {
	for name, happens := range map[string]bool{"the commit is not written": false, "the commit is written": true} {
		t.Run(name, func(t *testing.T) {
			path, _ := makeFileIn(t, quickDir(t), 0)
			s := open(t, path, &Options{logAtOnce: true, FlushEvery: lazy.FlushEvery})
			put(t, s, large(0))
			failTree(s, -1, happens)
			n := 1
			var err error
			for ; err == nil && n < 2000; n++ {
				err = putting(s, large(n))
			}
			refused := large(n - 1)
			if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, errDisk) || errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Fatalf("after %d writes: %v; want ErrUnavailable and the cause", n, err)
			}
			st := s.Stats()
			if !errors.Is(st.CheckpointErr, errDisk) || !errors.Is(st.Err, errDisk) || st.LogSize > s.logLimit() || n < 50 {
				t.Errorf("after %d writes: %+v; want the cause, and a log of %d bytes at most", n, st, s.logLimit())
			}
			if _, err := s.Get(context.Background(), refused.ID); !errors.Is(err, storage.ErrNotFound) {
				t.Errorf("what was refused: %v", err)
			}
			if got := openCrashed(t, path).Stats().Tokens; got != n-1 {
				t.Errorf("%d records after a crash; want %d", got, n-1)
			}
			failTree(s, 0, false)
			put(t, s, refused)
			if st := s.Stats(); st.CheckpointErr != nil || st.Err != nil {
				t.Errorf("when it can be again: %+v", st)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if got := open(t, path, nil).Stats().Tokens; got != n {
				t.Errorf("%d records in the end; want %d", got, n)
			}
		})
	}
}

// TestGroupLongerThanTheLog: an Update may be longer than the log may be; then the log is cut.
func TestGroupLongerThanTheLog(t *testing.T) {
	n := sample.Of(100_000, 20_000)
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFileIn(t, quickDir(t), 0)
		s := open(t, path, opts)
		if err := issue(s, 0, n); err != nil {
			t.Fatal(err)
		}
		err := s.Update(context.Background(), "ana", func(tx storage.Tx) error {
			for r, err := range tx.Records() {
				if endsIt(&r); err == nil {
					err = tx.Put(r)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		check := func(when string, s *Store) {
			t.Helper()
			ends := 0
			for r := range s.List(context.Background(), storage.Filter{}) {
				if !r.EndedAt.IsZero() {
					ends++
				}
			}
			if ends != n {
				t.Errorf("%s: %d are ended; want %d", when, ends, n)
			}
		}
		crashed := func() *Store { // no checkpoint writes while the files are copied, one after the other
			s.tree.Turn.Take()
			defer s.tree.Turn.Give()
			return openCrashed(t, path)
		}
		check("at once", s)
		check("after a crash", crashed())
		if !opts.NoLog {
			err := s.checkpoint(true)
			for more := range 64 { // until the last part of the log is not where groups go
				put(t, s, large(n+more))
			}
			if err := errors.Join(err, s.checkpoint(true)); err != nil {
				t.Fatal(err)
			}
		}
		if size := s.Stats().LogSize; size > s.logLimit() {
			t.Errorf("the log has %d bytes; want %d at most", size, s.logLimit())
		}
		check("after a crash, when the log is cut", crashed())
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		check("reopened", open(t, path, nil))
	})
}
