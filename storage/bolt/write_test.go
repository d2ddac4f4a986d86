package bolt

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"testing"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestNothingToWrite: what changes nothing leaves the file as it is, to the byte.
func TestNothingToWrite(t *testing.T) {
	ctx := context.Background()
	path, before := makeFile(t, 3)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r := record(1)
	_, sweep := s.Sweep(ctx, r.IssuedAt, 10)
	err = errors.Join(sweep,
		s.Update(ctx, r.Subject, func(tx storage.Tx) error { _, err := tx.Get(r.ID); return err }),
		s.Touch(ctx, r.ID, storage.Use{ExpiresAt: r.ExpiresAt}),
		s.Touch(ctx, record(9).ID, storage.Use{At: r.ExpiresAt}),
		s.Close())
	if err != nil {
		t.Error(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed, %v", err)
	}
}

// TestWritesAreSynced: no option of bbolt that gives up durability is on.
func TestWritesAreSynced(t *testing.T) {
	path, _ := makeFile(t, 0)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.tree.DB.NoSync || s.tree.DB.NoGrowSync {
		t.Errorf("NoSync %v, NoGrowSync %v; want neither", s.tree.DB.NoSync, s.tree.DB.NoGrowSync)
	}
}

// TestBothMetaPages: after each write, and at the end of a checkpoint, both meta pages lead to the same
// pages, and none of these is a list of free pages.
func TestBothMetaPages(t *testing.T) {
	path, _ := makeFile(t, 0)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	check := func(when string) {
		t.Helper()
		metas, err := metasAt(path)
		want := metas.Newest
		want.Tx--
		if err != nil || metas.Older != want || want.HasFreelist() {
			t.Errorf("%s: %+v, %v; want two that differ in the number of the transaction, and no list", when, metas, err)
		}
	}
	for n := range 2 * directGroups {
		put(t, s, record(n))
		check(fmt.Sprintf("after group %d", n))
	}
	if err := s.checkpoint(true); err != nil {
		t.Fatal(err)
	}
	check("after a checkpoint")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("closed")
}

// TestSweepForgets: the index does not grow with what is gone.
func TestSweepForgets(t *testing.T) {
	path, _ := makeFile(t, 14)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if n, err := s.Sweep(context.Background(), record(14).ExpiresAt, 100); n != 14 || err != nil {
		t.Fatalf("Sweep: %d, %v", n, err)
	}
	for n := range 7 {
		if ids := s.table.Subject(nil, record(n).Subject); len(ids) != 0 {
			t.Errorf("%s still has %v", record(n).Subject, ids)
		}
	}
}

// TestAbortedIsNotFiled: the index learns nothing of a put that was undone, by an
// error or by a panic.
func TestAbortedIsNotFiled(t *testing.T) {
	path, _ := makeFile(t, 0)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	r := record(1)
	for name, end := range map[string]func() error{
		"error": func() error { return storage.ErrConflict },
		"panic": func() error { panic("no") },
	} {
		func() {
			defer func() { recover() }()
			s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return errors.Join(tx.Put(r), end()) })
		}()
		if ids := s.table.All(); len(ids) != 0 || s.stage.Holds(r.ID) {
			t.Errorf("%s: the index has %v", name, ids)
		}
	}
}

// TestCloseSendsWaitersAway: who waits for a turn to write gets ErrClosed as soon
// as Close begins, and not after whoever has it.
func TestCloseSendsWaitersAway(t *testing.T) {
	path, _ := makeFile(t, 0)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	running, release := make(chan struct{}), make(chan struct{})
	holds, waits, closes := make(chan error, 1), make(chan error, 1), make(chan error, 1)
	go func() {
		holds <- s.Update(context.Background(), "ana", func(storage.Tx) error {
			close(running)
			<-release
			return nil
		})
	}()
	<-running
	go func() {
		waits <- s.Update(context.Background(), "bob", func(storage.Tx) error { return nil })
	}()
	for range 1000 {
		runtime.Gosched() // until it waits, most likely; if it does not yet, the test is weaker
	}
	go func() { closes <- s.Close() }()
	if err := <-waits; !errors.Is(err, storage.ErrClosed) { // a hang: it waits for the turn before its own
		t.Errorf("who waited: %v; want ErrClosed", err)
	}
	close(release)
	if err := errors.Join(<-holds, <-closes); err != nil {
		t.Error(err)
	}
}

func TestClassify(t *testing.T) {
	corrupt := fmt.Errorf("%w: a page", storage.ErrCorrupt)
	for _, row := range []struct{ err, want error }{
		{nil, nil},
		{corrupt, corrupt},
		{ErrNotStore, ErrNotStore},
		{berrors.ErrTimeout, storage.ErrLocked},
		{berrors.ErrDatabaseNotOpen, storage.ErrUnavailable},
		{boltfile.ErrDamaged, storage.ErrCorrupt},
		{boltfile.ErrEmpty, storage.ErrCorrupt},
		{boltfile.ErrNoBucket, ErrNotStore},
		{log.ErrDamaged, storage.ErrCorrupt},
		{log.ErrNewer, ErrNewerSchema},
		{log.ErrUnknown, storage.ErrOutcomeUnknown},
		{log.ErrFull, ErrDiskFull},
		{log.ErrReplaced, ErrReplaced},
		{syscall.EIO, storage.ErrUnavailable},
		{syscall.ENOSPC, ErrDiskFull},
		{syscall.ENOSPC, storage.ErrUnavailable},
		{syscall.EROFS, ErrReadOnly},
		{context.DeadlineExceeded, storage.ErrUnavailable},
		{context.DeadlineExceeded, context.DeadlineExceeded},
	} {
		if got := fault.Classify(row.err); !errors.Is(got, row.want) {
			t.Errorf("%v: %v; want %v", row.err, got, row.want)
		}
	}
}

// metasAt returns the meta pages of the file at path.
func metasAt(path string) (metas boltfile.Metas, err error) {
	f, err := os.Open(path)
	if err != nil {
		return metas, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return metas, err
	}
	return boltfile.ReadMetas(f, info.Size())
}
