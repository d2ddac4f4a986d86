package bolt

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestNobodyGoesByWhatFails: an Update that reads what another one is still writing,
// and puts nothing, fails with it.
func TestNobodyGoesByWhatFails(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 0)
	s := open(t, path, nil)
	disk := stop(t, s)
	disk.fail = errDisk
	r, writing := record(1), make(chan error, 1)
	go func() {
		writing <- s.Update(ctx, r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
	}()
	<-disk.arrived
	o, err := s.stageUpdate(ctx, r.Subject, func(tx storage.Tx) error {
		got, err := tx.Get(r.ID)
		if err != nil || !got.Equal(r) {
			t.Errorf("what is held reads %+v, %v", got, err)
		}
		return err
	})
	if o == nil || len(o.writes) != 0 || err != nil {
		t.Fatalf("who read it waits for %v, %v; want an op without writes", o, err)
	}
	close(disk.open)
	if err := <-writing; !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, errDisk) {
		t.Errorf("who wrote: %v; want ErrUnavailable and the cause", err)
	}
	if err := s.await(ctx, o); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("who read: %v; want ErrUnavailable", err)
	}
}

// TestWhatWaitsFails: what waits behind a group that could not be written may have gone
// by it, so it fails too.
func TestWhatWaitsFails(t *testing.T) {
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFile(t, 0)
		s := open(t, path, opts)
		g := holdCommits(t, s)
		first := async(func() error { return putting(s, record(0)) })
		<-g.arrived
		behind := []chan error{async(func() error { return putting(s, record(1)) }), async(func() error { return putting(s, record(2)) })}
		awaitWaiting(s, len(behind))
		letCommits(s)
		g.release <- errDisk
		if err := <-first; !errors.Is(err, errDisk) {
			t.Errorf("the first: %v; want the cause", err)
		}
		for _, done := range behind {
			if err := <-done; !errors.Is(err, errBefore) {
				t.Errorf("behind it: %v; want errBefore", err)
			}
		}
		if n := s.Stats().Tokens; n != 0 {
			t.Errorf("%d tokens; want none", n)
		}
	})
}

// TestTouchAtOnceWaitsForItsTwin: of two that raise the same, the one that comes
// later is not done before the first one is on disk.
func TestTouchAtOnceWaitsForItsTwin(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 3)
	s := open(t, path, &Options{FlushEvery: FlushAtOnce})
	disk := stop(t, s)
	disk.fail = errDisk
	use := storage.Use{At: record(1).ExpiresAt}
	var twins sync.WaitGroup
	errs := make([]error, 2)
	twins.Go(func() { errs[0] = s.Touch(ctx, record(1).ID, use) })
	<-disk.arrived
	twins.Go(func() { errs[1] = s.Touch(ctx, record(1).ID, use) })
	close(disk.open)
	twins.Wait()
	for i, err := range errs {
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("twin %d: %v; want ErrUnavailable", i, err)
		}
	}
	if r, err := s.Get(ctx, record(1).ID); err != nil || !r.LastUsedAt.IsZero() {
		t.Errorf("what is not on disk is seen: %v, %v", r.LastUsedAt, err)
	}
}

// TestUnstorableTouch is refused, and takes no other renewal with it.
func TestUnstorableTouch(t *testing.T) {
	ctx := context.Background()
	for _, every := range []time.Duration{time.Hour, FlushAtOnce} {
		path, _ := makeFile(t, 20)
		s := open(t, path, &Options{FlushEvery: every})
		used := record(0).ExpiresAt
		for n := range 20 {
			if err := s.Touch(ctx, record(n).ID, storage.Use{At: used}); err != nil {
				t.Fatal(err)
			}
		}
		for _, use := range []storage.Use{{At: time.UnixMilli(lastMilli + 1)}, {ExpiresAt: time.UnixMilli(lastMilli + 1)}, {At: time.Unix(1<<60, 0)}} {
			if err := s.Touch(ctx, record(5).ID, use); !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("Touch after the year 9999: %v; want ErrUnavailable", err)
			}
		}
		if err := s.Touch(ctx, record(6).ID, storage.Use{ExpiresAt: time.UnixMilli(lastMilli).UTC()}); err != nil {
			t.Errorf("Touch in the year 9999: %v", err)
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		for n := range 20 {
			if got := usedInFile(t, path, n); !got.Equal(used) {
				t.Errorf("record %d was used last %v; want %v", n, got, used)
			}
		}
	}
}
