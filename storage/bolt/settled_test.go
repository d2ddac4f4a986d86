package bolt

import (
	"errors"
	"os"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestUnreadableBehindACommit: what bbolt has committed is done, although the file cannot be
// read right after; the store opens it again and goes on.
func TestUnreadableBehindACommit(t *testing.T) {
	path, _ := makeFile(t, 1)
	s := open(t, path, &Options{NoLog: true})
	closed, err := os.Open(path)
	if err := errors.Join(err, closed.Close()); err != nil {
		t.Fatal(err)
	}
	for fails := range 2 { // in the first transaction of a group, and in the second
		n := 0
		s.tree.Turn.Take()
		s.tree.CommitTx = func(btx *bbolt.Tx) error {
			err := btx.Commit()
			if n++; n == fails+1 {
				s.tree.File = closed
			}
			return err
		}
		s.tree.Turn.Give()
		if err := putting(s, record(10+fails)); err != nil {
			t.Errorf("transaction %d: %v; want nil: it is done", fails, err)
		}
		if n != 2 {
			t.Errorf("%d transactions; want 2", n)
		}
	}
	put(t, s, record(20))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if records, _ := contents(t, open(t, path, nil)); len(records) != 4 {
		t.Errorf("%d records; want 4", len(records))
	}
}

// TestNothingToEnd: an Update that finds a token ended, whose end may not be on the disk,
// succeeds once it is.
func TestNothingToEnd(t *testing.T) {
	for _, logged := range []bool{false, true} {
		s := openNew(t, &Options{NoLog: !logged, logAtOnce: logged, FlushEvery: lazy.FlushEvery})
		put(t, s, record(1))
		disk := holdCommits(t, s)
		ending := async(func() error { return putting(s, ended(record(1))) })
		<-disk.arrived
		disk.release <- errors.Join(storage.ErrOutcomeUnknown, errDisk) // and nothing is written
		if err := <-ending; !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
		for _, fails := range []error{errDisk, nil} {
			ending := async(func() error {
				return s.Update(t.Context(), record(1).Subject, func(tx storage.Tx) error {
					r, err := tx.Get(record(1).ID)
					if err == nil && r.EndedAt.IsZero() {
						err = tx.Put(ended(r))
					}
					return err
				})
			})
			<-disk.arrived
			select {
			case err := <-ending:
				t.Fatalf("log %v: %v before the end is on the disk", logged, err)
			default:
			}
			disk.release <- fails
			if err := <-ending; !errors.Is(err, fails) {
				t.Errorf("log %v: %v; want %v", logged, err, fails)
			}
		}
		letCommits(s)
	}
}
