package bolt

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/storage"
)

func openNew(t *testing.T, opts *Options) *Store {
	t.Helper()
	path, _ := makeFile(t, 0)
	s, err := Open(path, opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	return s
}

// gate holds the commits of a store at the disk.
type gate struct {
	arrived chan struct{} // one for each commit that has come so far
	release chan error    // what the commit returns; nil has it happen
}

func holdCommits(t *testing.T, s *Store) *gate {
	t.Helper()
	g := &gate{make(chan struct{}), make(chan error)}
	t.Cleanup(func() { letCommits(s) })
	onWrite(s, func(do func() error) error {
		g.arrived <- struct{}{}
		if err := <-g.release; err != nil {
			return err
		}
		return do()
	})
	return g
}

func letCommits(s *Store) {
	onWrite(s, func(do func() error) error { return do() })
}

// waiting returns how many ops wait behind the group that is being written.
func waiting(s *Store) int {
	s.turn.Take()
	defer s.turn.Give()
	return len(s.next.ops)
}

func awaitWaiting(s *Store, n int) {
	for waiting(s) < n {
		runtime.Gosched()
	}
}

func putting(s *Store, records ...storage.Record) error {
	return s.Update(context.Background(), records[0].Subject, func(tx storage.Tx) error {
		for _, r := range records {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
}

func deleting(s storage.Store, r storage.Record) error {
	return s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return tx.Delete(r.ID) })
}

// async runs f and returns where its error will be.
func async(f func() error) chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	return done
}

func ended(r storage.Record) storage.Record {
	r.EndedAt, r.EndReason = r.IssuedAt, storage.EndRevoked
	return r
}

// TestGroupsGather: what comes while a group is being written becomes one group, and
// nobody sees any of it before it is durable but the updates that come after.
func TestGroupsGather(t *testing.T) {
	const callers = 64
	s := openNew(t, nil)
	g := holdCommits(t, s)
	before := s.Stats().Commits
	first := async(func() error { return putting(s, record(0)) })
	<-g.arrived
	var all []chan error
	for n := 1; n <= callers; n++ {
		all = append(all, async(func() error { return putting(s, record(n)) }))
	}
	awaitWaiting(s, callers)
	for n := range callers + 1 {
		if _, err := s.Get(context.Background(), record(n).ID); !errors.Is(err, storage.ErrNotFound) {
			t.Fatalf("record %d before it is durable: %v; want ErrNotFound", n, err)
		}
	}
	seen := async(func() error {
		return s.Update(context.Background(), record(7).Subject, func(tx storage.Tx) error {
			if _, err := tx.Get(record(7).ID); err != nil {
				return fmt.Errorf("what an earlier update put: %w", err)
			}
			return nil
		})
	})
	awaitWaiting(s, callers+1)
	g.release <- nil
	if err := <-first; err != nil {
		t.Error(err)
	}
	<-g.arrived
	select {
	case err := <-seen:
		t.Errorf("who went by what is not durable came back: %v", err)
	default:
	}
	g.release <- nil
	for _, done := range append(all, seen) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := s.Stats().Commits - before; got != 2 {
		t.Errorf("%d commits for %d callers; want 2", got, callers+1)
	}
}

// TestOneFailsAlone: what cannot be stored fails before it is in a group, and nobody
// else with it, nor what comes after it.
func TestOneFailsAlone(t *testing.T) {
	s := openNew(t, nil)
	g := holdCommits(t, s)
	first := async(func() error { return putting(s, record(0)) })
	<-g.arrived
	bad, after := record(1), record(8) // of one subject
	bad.TTL = -1
	fails := async(func() error { return putting(s, bad) })
	if err := <-fails; !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("what cannot be stored: %v; want ErrUnavailable", err)
	}
	others := []chan error{async(func() error { return putting(s, after) }), async(func() error { return putting(s, record(2)) })}
	awaitWaiting(s, len(others))
	g.release <- nil
	<-g.arrived
	g.release <- nil
	for _, done := range append(others, first) {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := s.table.All(); len(got) != 3 {
		t.Errorf("the table has %v; want the 3 others", got)
	}
}

// TestWhoWentByFailureFails: an update that wrote nothing, and saw what then was not
// written, does not report success.
func TestWhoWentByFailureFails(t *testing.T) {
	s := openNew(t, nil)
	g := holdCommits(t, s)
	first := async(func() error { return putting(s, record(0)) })
	<-g.arrived
	looks := async(func() error {
		return s.Update(context.Background(), record(0).Subject, func(tx storage.Tx) error {
			_, err := tx.Get(record(0).ID)
			return err
		})
	})
	for n := 0; n < 1000; n++ {
		runtime.Gosched() // until it has looked, most likely
	}
	g.release <- errors.New("the disk says no")
	if err := <-first; !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("the write: %v; want ErrUnavailable", err)
	}
	if err := <-looks; !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("who saw it: %v; want ErrUnavailable, or ErrNotFound if it came late", err)
	}
}

// TestCommitsInOrder: many callers write the same records at once; the file ends
// with what the table shows.
func TestCommitsInOrder(t *testing.T) {
	s := openNew(t, nil)
	var callers sync.WaitGroup
	for caller := range 8 {
		callers.Go(func() {
			for n := range 50 {
				r := record(n % 5)
				r.Name = fmt.Sprint(caller, " ", n)
				if err := putting(s, r); err != nil {
					t.Error(err)
				}
			}
		})
	}
	callers.Wait()
	for n := range 5 {
		shown, err := s.Get(context.Background(), record(n).ID)
		if stored := inFile(t, s, record(n).ID); err != nil || !stored.Equal(shown) {
			t.Errorf("the file has %+v, the table %+v, %v", stored, shown, err)
		}
	}
}

// inFile returns the record of id as the tree has it once the log is in it, or nothing.
func inFile(t *testing.T, s *Store, id storage.ID) (r storage.Record) {
	t.Helper()
	merged(t, s, func(btx *bbolt.Tx) (err error) {
		if v := btx.Bucket([]byte(tree.TokensBucket)).Get(id[:]); v != nil {
			r, err = decode(id[:], v)
		}
		return err
	})
	return r
}

// merged runs fn on the tree of s once the log is in it.
func merged(t *testing.T, s *Store, fn func(*bbolt.Tx) error) {
	t.Helper()
	s.tree.Turn.Take()
	defer s.tree.Turn.Give()
	if s.journal.current() != nil {
		if err := s.checkpointNow(true); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.tree.DB.View(fn); err != nil {
		t.Fatal(err)
	}
}

// inBoth runs test with options under which groups go into the log, and with options under
// which they go into the tree.
func inBoth(t *testing.T, opts Options, test func(t *testing.T, opts *Options)) {
	t.Helper()
	for name, set := range map[string]func(*Options){
		"log": func(o *Options) { o.logAtOnce = true }, "no log": func(o *Options) { o.NoLog = true },
	} {
		o := opts
		set(&o)
		t.Run(name, func(t *testing.T) { test(t, &o) })
	}
}
