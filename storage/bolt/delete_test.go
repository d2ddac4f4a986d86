package bolt

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestDeleteInOrder: what one update deletes and another puts, of one group, comes to be
// in their order, in the table, in what a crash leaves, and in the file.
func TestDeleteInOrder(t *testing.T) {
	for name, changes := range map[string][]troubled{
		"put, deleted":                      {isRenamed, isDeleted},
		"deleted, put":                      {isDeleted, isPutAgain},
		"deleted, put, deleted":             {isDeleted, isPutAgain, isDeleted},
		"put, deleted, put, put":            {isRenamed, isDeleted, isPutAgain, isRenamed},
		"deleted, put, ended, deleted, put": {isDeleted, isPutAgain, isEnded, isDeleted, isPutAgain},
	} {
		path, _ := makeFile(t, 10)
		s := open(t, path, nil)
		g := holdCommits(t, s)
		first := async(func() error { return putting(s, record(20)) })
		<-g.arrived
		all := append(stages(s, changes), first)
		letCommits(s)
		g.release <- nil
		for _, done := range all {
			if err := <-done; err != nil {
				t.Fatalf("%s: %v", name, err)
			}
		}
		want := after(changes)
		oneIs(t, name, s, want)
		oneIs(t, name+", after a crash", openCrashed(t, path), want)
		merged := inFile(t, s, record(1).ID)
		if want != nil && !merged.Equal(*want) || want == nil && merged.ID != (storage.ID{}) {
			t.Errorf("%s: %+v in the file; want %+v", name, merged, want)
		}
	}
}

// TestDeleteThatFails: a record that could not be deleted is there as before, no sweep
// takes it for one that it has taken already, and it can be deleted.
func TestDeleteThatFails(t *testing.T) {
	s := openNew(t, nil)
	put(t, s, record(1))
	failCommit(s, func(func() error) error { return errDisk })
	if err := deleting(s, record(1)); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatalf("Delete: %v; want ErrUnavailable", err)
	}
	if n, err := s.Sweep(context.Background(), record(1).IssuedAt, 10); n != 0 || err != nil {
		t.Errorf("Sweep: %d, %v", n, err)
	}
	is := record(1)
	oneIs(t, "afterwards", s, &is)
	if err := deleting(s, record(1)); err != nil {
		t.Fatal(err)
	}
	oneIs(t, "deleted", s, nil)
	if got := inFile(t, s, record(1).ID); got.ID != (storage.ID{}) {
		t.Error("it is in the file")
	}
}

// TestDeleteMakesRoom: at Options.MaxTokens an update that deletes as many records as it
// creates goes through, one that deletes fewer does not, and the file opens again.
func TestDeleteMakesRoom(t *testing.T) {
	path, _ := makeFile(t, 10)
	opts := &Options{MaxTokens: 10, FlushEvery: time.Hour}
	s := open(t, path, opts)
	swap := func(from, to int, dead ...int) error {
		return s.Update(context.Background(), record(1).Subject, func(tx storage.Tx) error {
			for n := from; n < to; n++ {
				if err := tx.Put(record(1 + 7*n)); err != nil {
					return err
				}
			}
			for _, n := range dead {
				if err := tx.Delete(record(n).ID); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := swap(10, 12, 1); !errors.Is(err, ErrTooMany) {
		t.Errorf("two for one: %v; want ErrTooMany", err)
	}
	if err := swap(10, 12, 1, 8); err != nil {
		t.Errorf("two for two: %v", err)
	}
	if err := swap(12, 13); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more: %v; want ErrTooMany", err)
	}
	if n := openCrashed(t, path).Stats().Tokens; n != 10 {
		t.Errorf("%d records after a crash; want 10", n)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if n := open(t, path, opts).Stats().Tokens; n != 10 {
		t.Errorf("%d records in the end; want 10", n)
	}
}
