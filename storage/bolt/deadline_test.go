package bolt

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// puttingUntil is putting with a context.
func puttingUntil(ctx context.Context, s *Store, records ...storage.Record) error {
	return s.Update(ctx, records[0].Subject, func(tx storage.Tx) error {
		for _, r := range records {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
}

// fates are what can become of a group whose caller has left.
var fates = map[string]func(do func() error) error{
	"written":                  func(do func() error) error { return do() },
	"failed":                   func(func() error) error { return errDisk },
	"unknown, and written":     syncLost,
	"unknown, and not written": notWritten,
}

// TestDeadlinesOnAFrozenDisk: a call whose context ends while its group is being written returns
// ErrOutcomeUnknown, and what it ends counts as ended at once; one that waits returns the error
// of its context and has no effect. What comes later, of the same subject, fails; of another
// subject it depends on the disk alone. It stays so when the disk works again, after a crash,
// and after Close.
func TestDeadlinesOnAFrozenDisk(t *testing.T) {
	for fate, thaws := range fates {
		for _, then := range []string{"a write", "Close"} {
			t.Run(fate+", then "+then, func(t *testing.T) {
				inBoth(t, lazy, func(t *testing.T, opts *Options) { frozen(t, opts, thaws, fate == "written", then) })
			})
		}
	}
}

func frozen(t *testing.T, opts *Options, thaws func(func() error) error, succeeds bool, then string) {
	path, _ := makeFileIn(t, quickDir(t), 10)
	s := open(t, path, opts)
	told := watching(t, s)
	arrived, thaw := make(chan struct{}), make(chan struct{})
	failCommit(s, func(do func() error) error {
		close(arrived)
		<-thaw
		return thaws(do)
	})
	doomed, fresh, waits := ended(record(1)), record(15), ended(record(2))
	renamed, other := record(9), record(20) // of the subject of 2, and of another
	renamed.Name = "another"
	beingWritten, leave := context.WithCancel(t.Context())
	waiting, leaveToo := context.WithCancel(t.Context())
	first := async(func() error { return puttingUntil(beingWritten, s, fresh, doomed) })
	<-arrived
	second := async(func() error { return puttingUntil(waiting, s, waits) })
	awaitWaiting(s, 1)
	behind := async(func() error { return putting(s, renamed) })
	awaitWaiting(s, 2)
	beside := async(func() error { return putting(s, other) })
	awaitWaiting(s, 3)

	leaveToo()
	if err := <-second; !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("who waits: %v; want the error of the context", err)
	}
	leave()
	if err := <-first; !errors.Is(err, context.Canceled) || !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("who is being written: %v; want ErrOutcomeUnknown and the error of the context", err)
	}
	if c := <-told; c.ID != doomed.ID {
		t.Errorf("told of %+v; want the end", c)
	}
	listed := slices.Collect(func(yield func(storage.Record) bool) {
		for r := range s.List(t.Context(), storage.Filter{Subject: doomed.Subject}) {
			if !yield(r) {
				return
			}
		}
	})
	if !slices.ContainsFunc(listed, doomed.Equal) || len(listed) != 2 { // and record 8
		t.Errorf("listed: %+v; want the end, and nothing that may not have happened", listed)
	}
	check := func(when string, s *Store, thawed bool) {
		t.Helper()
		is := map[storage.ID]*storage.Record{doomed.ID: &doomed, fresh.ID: nil, other.ID: nil}
		for _, n := range []int{2, 9} {
			r := record(n)
			is[r.ID] = &r
		}
		if thawed && succeeds {
			is[fresh.ID], is[other.ID] = &fresh, &other
		}
		for id, want := range is {
			got, err := s.Get(t.Context(), id)
			if want == nil && !errors.Is(err, storage.ErrNotFound) || want != nil && (err != nil || !got.Equal(*want)) {
				t.Errorf("%s: %+v, %v; want %+v", when, got, err, want)
			}
		}
	}
	check("frozen", s, false)

	close(thaw)
	if err := <-behind; !errors.Is(err, errBefore) {
		t.Errorf("who came later, of the subject of one that left: %v; want errBefore", err)
	}
	if err := <-beside; succeeds && err != nil || !succeeds && !errors.Is(err, errBefore) {
		t.Errorf("who came later, of another subject: %v", err)
	}
	check("thawed", s, true)
	if then == "a write" {
		put(t, s, record(22))
		check("after a crash", openCrashed(t, path), true)
		if got := inFile(t, s, doomed.ID); !got.Equal(doomed) {
			t.Errorf("in the file: %+v; want the end", got)
		}
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("reopened", open(t, path, nil), true)
}

// TestWhoLeavesWithNothingWritten: a call that only waits for what it has read has no outcome that
// could be unknown, and one that leaves takes no op of another kind with it.
func TestWhoLeavesWithNothingWritten(t *testing.T) {
	s := openNew(t, &lazy)
	put(t, s, record(1), record(8))
	g := holdCommits(t, s)
	first := async(func() error { return putting(s, record(0)) })
	<-g.arrived
	reads, leave := context.WithCancel(t.Context())
	reader := async(func() error {
		return s.Update(reads, record(0).Subject, func(tx storage.Tx) error { _, err := tx.Get(record(0).ID); return err })
	})
	second := async(func() error { return putting(s, record(2)) })
	awaitWaiting(s, 2)
	sweeps, leaveToo := context.WithCancel(t.Context())
	sweeper := async(func() error { _, err := s.Sweep(sweeps, record(2).ExpiresAt, 1); return err })
	awaitWaiting(s, 3)
	touch(t, s, record(8), by(record(8), time.Minute))
	flushed := async(s.flush)
	awaitWaiting(s, 4)
	leaveToo()
	if err := <-sweeper; !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("the sweep: %v; want the error of the context", err)
	}
	g.release <- nil
	<-g.arrived // both are being written
	leave()
	if err := <-reader; !errors.Is(err, context.Canceled) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("who only read: %v; want the error of the context", err)
	}
	g.release <- nil
	if err := errors.Join(<-first, <-second, <-flushed); err != nil {
		t.Error(err)
	}
}

// TestLeftStaysDenied: what a call ends that has left while it was being written is never seen
// alive again, not even where its group, when it is shown at last, has earlier writes of the
// same record.
func TestLeftStaysDenied(t *testing.T) {
	for fate, thaws := range fates {
		for name, row := range map[string]struct {
			before, last troubled
			denied       func(r *storage.Record, found bool) bool
		}{
			"ended":     {isRenamed, isEnded, func(r *storage.Record, found bool) bool { return !r.EndedAt.IsZero() }},
			"suspended": {isRenamed, isSuspended, func(r *storage.Record, found bool) bool { return !r.SuspendedAt.IsZero() }},
			"deleted":   {isRenamed, isDeleted, func(_ *storage.Record, found bool) bool { return !found }},
			"secret": {hasSecret(1, 1), hasSecret(2, 0), func(r *storage.Record, found bool) bool {
				return r.Digest.Equal(after([]troubled{hasSecret(2, 0)}).Digest)
			}},
		} {
			t.Run(name+", "+fate, func(t *testing.T) {
				inBoth(t, lazy, func(t *testing.T, opts *Options) { leftStaysDenied(t, opts, row.before, row.last, row.denied, thaws) })
			})
		}
	}
}

func leftStaysDenied(t *testing.T, opts *Options, before, last troubled, denied func(r *storage.Record, found bool) bool, thaws func(func() error) error) {
	const between = 300
	path, _ := makeFileIn(t, quickDir(t), 10)
	s := open(t, path, opts)
	g := holdCommits(t, s)
	first := async(func() error { return putting(s, record(20)) })
	<-g.arrived
	all := stages(s, []troubled{before})
	for n := range between {
		all = append(all, async(func() error { return putting(s, record(100+n)) }))
	}
	awaitWaiting(s, between+1)
	ctx, leave := context.WithCancel(t.Context())
	left := async(func() error {
		return s.Update(ctx, record(1).Subject, func(tx storage.Tx) error {
			r, err := tx.Get(record(1).ID)
			if err != nil {
				return err
			}
			if is := last(&r); is != nil {
				return tx.Put(*is)
			}
			return tx.Delete(r.ID)
		})
	})
	awaitWaiting(s, between+2)
	failCommit(s, func(do func() error) error {
		g.arrived <- struct{}{}
		<-g.release
		return thaws(do)
	})
	g.release <- nil
	if err := <-first; err != nil {
		t.Fatal(err)
	}
	<-g.arrived
	leave()
	if err := <-left; !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatalf("who left: %v; want ErrOutcomeUnknown", err)
	}
	over, revived := make(chan struct{}), make(chan bool)
	go func() {
		for {
			var r storage.Record
			if found := s.table.Get(record(1).ID, &r); !denied(&r, found) {
				revived <- true
				return
			}
			select {
			case <-over:
				revived <- false
				return
			default:
			}
		}
	}()
	g.release <- nil
	for _, done := range all {
		<-done
	}
	close(over)
	if <-revived {
		t.Error("what was denied was seen again")
	}
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	for when, s := range map[string]*Store{"after a crash": openCrashed(t, path), "in the end": s} {
		var r storage.Record
		if found := s.table.Get(record(1).ID, &r); !denied(&r, found) {
			t.Errorf("%s: %+v is not denied", when, r)
		}
	}
}
