package bolt

import (
	"bytes"
	"errors"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestWritesGoOnDuringAMerge until the other half is full; who needs more room waits for
// the merge, and nobody who reads does.
func TestWritesGoOnDuringAMerge(t *testing.T) {
	const half = leastHalf / (2 * blockLen) // large records
	s := openNew(t, &lazy)
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	open := sync.OnceFunc(func() { close(release) })
	t.Cleanup(open) // before the store is closed
	onMerge(s, func(btx *bbolt.Tx) error {
		arrived <- struct{}{}
		<-release
		return btx.Commit()
	})
	for n := range half + 1 {
		put(t, s, large(n))
	}
	<-arrived
	for n := half + 1; n < 2*half; n++ {
		put(t, s, large(n))
	}
	late := async(func() error { return putting(s, large(2*half)) })
	hasLarge(t, "meanwhile", s, 2*half)
	select {
	case err := <-late:
		t.Errorf("who needs room has not waited: %v", err)
	default:
	}
	open()
	if err := <-late; err != nil {
		t.Error(err)
	}
	hasLarge(t, "afterwards", s, 2*half+1)
}

// TestCloseDuringAMerge waits for it, and what is in the other half is merged, too.
func TestCloseDuringAMerge(t *testing.T) {
	path, _ := makeFile(t, 3)
	before := goroutines()
	s := open(t, path, &lazy)
	arrived, release := make(chan struct{}, 10), make(chan struct{})
	onMerge(s, func(btx *bbolt.Tx) error {
		arrived <- struct{}{}
		<-release
		return btx.Commit()
	})
	n, err := putLarge(s, 0, 1, rounds(s, 1))
	if err != nil {
		t.Fatal(err)
	}
	<-arrived
	done := closing(s)
	<-s.closed
	select {
	case err := <-done:
		t.Errorf("Close has not waited: %v", err)
	default:
	}
	close(release)
	if err := <-done; err != nil {
		t.Error(err)
	}
	if left := started(before, 0); len(left) > 0 {
		t.Errorf("there are\n%s", left)
	}
	file := readFile(t, path)
	s = open(t, path, nil)
	hasLarge(t, "opened again", s, n)
	if s.Close() != nil || !bytes.Equal(file, readFile(t, path)) {
		t.Error("something was left to be merged")
	}
}

// TestManyWritersGoRound: callers that write at once fill the journal many times over,
// while others copy and compact the file. All that was acknowledged is there.
func TestManyWritersGoRound(t *testing.T) {
	path := quickDir(t) + "/tokens.db"
	s := open(t, path, &lazy)
	var callers sync.WaitGroup
	const writers, each = 4, 60
	for w := range writers {
		callers.Go(func() {
			for n := range each {
				if err := putting(s, large(writers*n+w)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 3 {
		copied := backup(t, s)
		if err := s.Compact(t.Context()); err != nil && !errors.Is(err, storage.ErrUnavailable) {
			t.Error(err)
		}
		openCopy(t, copied).Close()
	}
	callers.Wait()
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	hasLarge(t, "opened again", open(t, path, nil), writers*each)
}
