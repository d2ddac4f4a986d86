package bolt

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestCloseWritesWhatWaits: an Update that was staged before Close began is written,
// even if nobody has begun to.
func TestCloseWritesWhatWaits(t *testing.T) {
	for range 50 {
		path, _ := makeFileIn(t, quickDir(t), 0)
		s := open(t, path, nil)
		s.turn.Take() // the committer cannot begin
		r := record(1)
		tx := s.stage.Begin(r.Subject)
		if err := tx.Put(r); err != nil {
			t.Fatal(err)
		}
		o := &op{subject: r.Subject, writes: tx.TakeWrites()}
		if err := o.check(); err != nil {
			t.Fatal(err)
		}
		s.enqueue(t.Context(), o)
		s.turn.Give()
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		select {
		case <-o.group.done:
		default:
			t.Fatal("Close came back before what waited was written")
		}
		if _, err := open(t, path, nil).Get(context.Background(), r.ID); err != nil || o.err != nil {
			t.Fatalf("what waited: %v, and in the file: %v", o.err, err)
		}
	}
}

// TestCloseAmongWriters: every Update is in the file or ErrClosed.
func TestCloseAmongWriters(t *testing.T) {
	for range 30 {
		path, _ := makeFileIn(t, quickDir(t), 0)
		s := open(t, path, nil)
		gate, errs := make(chan struct{}), make([]error, 8)
		var writers sync.WaitGroup
		for n := range errs {
			writers.Go(func() {
				<-gate
				errs[n] = s.Update(context.Background(), record(n).Subject, func(tx storage.Tx) error { return tx.Put(record(n)) })
			})
		}
		close(gate)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		writers.Wait()
		again := open(t, path, nil)
		for n, err := range errs {
			_, there := again.Get(context.Background(), record(n).ID)
			if (err == nil) != (there == nil) || err != nil && !errors.Is(err, storage.ErrClosed) {
				t.Errorf("Update: %v; in the file: %v", err, there)
			}
		}
		again.Close()
	}
}

// TestCloseFlushesUnderAHeldWrite: a Touch of a record that was just being written
// is in the file after Close.
func TestCloseFlushesUnderAHeldWrite(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 3)
	s := open(t, path, &Options{FlushEvery: time.Hour})
	disk := stop(t, s)
	r := record(1)
	writing, closing := make(chan error, 1), make(chan error, 1)
	go func() {
		writing <- s.Update(ctx, r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
	}()
	<-disk.arrived
	used := r.IssuedAt.Add(time.Minute)
	if err := s.Touch(ctx, r.ID, storage.Use{At: used}); err != nil {
		t.Fatal(err)
	}
	go func() { closing <- s.Close() }()
	<-s.closed
	close(disk.open)
	if err := errors.Join(<-writing, <-closing); err != nil {
		t.Fatal(err)
	}
	if got := usedInFile(t, path, 1); !got.Equal(used) {
		t.Errorf("last used %v; want %v", got, used)
	}
}

// TestCloseSaysWhatMayBeLost: an end of unknown outcome that could not be finished
// is an error of Close, though nothing is left to flush.
func TestCloseSaysWhatMayBeLost(t *testing.T) {
	path, _ := makeFile(t, 3)
	s := open(t, path, nil)
	loseCommit(t, s, true)
	if err := end(s, 1); !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatalf("Update: %v; want ErrOutcomeUnknown", err)
	}
	if err := s.Close(); err == nil || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Close: %v; want ErrUnavailable", err)
	}
	if err := s.Close(); err != nil {
		t.Errorf("Close again: %v", err)
	}
}
