package bolt

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

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
	g, o, err := s.stageUpdate(ctx, r.Subject, func(tx storage.Tx) error {
		got, err := tx.Get(r.ID)
		if err != nil || got != r {
			t.Errorf("what is held reads %+v, %v", got, err)
		}
		return err
	})
	if g == nil || o != nil || err != nil {
		t.Fatalf("who read it waits for %v, %v, %v; want a group alone", g, o, err)
	}
	close(disk.open)
	if err := <-writing; !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, errDisk) {
		t.Errorf("who wrote: %v; want ErrUnavailable and the cause", err)
	}
	if err := s.await(g, o, err); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("who read: %v; want ErrUnavailable", err)
	}
}

// TestOneOfAGroupFails: of three writes that share a transaction, one cannot be
// written; the other two are, whoever went by the one is told, and a reader of it
// who waits for a group of others, too.
func TestOneOfAGroupFails(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 0)
	s := open(t, path, nil)
	bad := record(1)
	err := s.log.db.Update(func(btx *bbolt.Tx) error { // bbolt puts no value where a bucket is
		_, err := btx.Bucket(tokensBucket).CreateBucket(bad.ID[:])
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	disk := stop(t, s)
	stage := func(r storage.Record, reads ...storage.ID) (*group, *op) {
		g, o, err := s.stageUpdate(ctx, r.Subject, func(tx storage.Tx) error {
			for _, id := range reads {
				if _, err := tx.Get(id); err != nil {
					return err
				}
			}
			if r.ID == (storage.ID{}) {
				return nil
			}
			return tx.Put(r)
		})
		if err != nil {
			t.Fatal(err)
		}
		return g, o
	}
	g0, o0 := stage(record(0))
	<-disk.arrived // what comes now is for the next groups
	other := record(2)
	other.Subject = bad.Subject
	g1, o1 := stage(bad)
	g2, o2 := stage(record(3))
	g3, o3 := stage(other, bad.ID)
	reader, none := stage(storage.Record{Token: storage.Token{Subject: bad.Subject}}, bad.ID)
	close(disk.open)
	if err := errors.Join(s.await(g0, o0, nil), s.await(g2, o2, nil)); err != nil {
		t.Errorf("those that have nothing to do with it: %v", err)
	}
	for what, err := range map[string]error{
		"who wrote it": s.await(g1, o1, nil), "who went by it": s.await(g3, o3, nil), "who read it": s.await(reader, none, nil),
	} {
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v; want ErrUnavailable", what, err)
		}
	}
	for _, r := range []storage.Record{bad, other} {
		if got, err := s.Get(ctx, r.ID); !errors.Is(err, storage.ErrNotFound) || s.stage.Holds(r.ID) {
			t.Errorf("what was not written: %+v, %v", got, err)
		}
	}
	for _, n := range []int{0, 3} {
		if got, err := s.Get(ctx, record(n).ID); err != nil || got != record(n) {
			t.Errorf("what was written: %+v, %v", got, err)
		}
	}
}

// TestReaderOfAnEarlierGroup: who read what fails alone in its group, and waits for a
// later group in which nothing fails, is told all the same.
func TestReaderOfAnEarlierGroup(t *testing.T) {
	path, _ := makeFile(t, 0)
	s := open(t, path, nil)
	s.turn <- struct{}{}
	failing := &op{subject: "ana"}
	s.queue = []*group{
		{ops: []*op{failing, {subject: "bob"}}, done: make(chan struct{}), sealed: true},
		{ops: []*op{{subject: "eve"}}, done: make(chan struct{})},
	}
	g, last := s.queue[0], s.queue[1]
	<-s.turn
	failing.err = errDisk
	s.finish(g)
	<-last.done
	if failed := last.ops[0].err; failed != nil || !last.failed {
		t.Errorf("eve's: %v, and who waits for it is told %v; want nil and true", failed, last.failed)
	}
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
