package bolt

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// afterAll is when all records are dead.
func afterAll() time.Time { return record(0).ExpiresAt.AddDate(1, 0, 0) }

// TestSweepThatFails: what it could not delete is out of sight, takes its place under
// MaxTokens, and is deleted by the next write.
func TestSweepThatFails(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 40)
	s := open(t, path, &Options{MaxTokens: 40})
	disk := stop(t, s)
	disk.fail = errDisk
	close(disk.open)
	sweepers := func() (deleted, failed int) {
		var all sync.WaitGroup
		var mu sync.Mutex
		for range 8 {
			all.Go(func() {
				n, err := s.Sweep(ctx, afterAll(), 10)
				mu.Lock()
				defer mu.Unlock()
				if deleted += n; err != nil {
					failed++
				}
				if err != nil && !errors.Is(err, storage.ErrUnavailable) {
					t.Errorf("Sweep: %d, %v; want ErrUnavailable", n, err)
				}
			})
		}
		all.Wait()
		return deleted, failed
	}
	if n, failed := sweepers(); n != 0 || failed == 0 {
		t.Errorf("on a disk that fails %d were deleted, and %d of 8 failed", n, failed)
	}
	if err := issue(s, 100, 101); !errors.Is(err, ErrTooMany) {
		t.Errorf("one more than the file may hold: %v; want ErrTooMany", err)
	}
	letCommits(s)
	if n, failed := sweepers(); n != 0 || failed != 0 {
		t.Errorf("%d were deleted, and %d failed; want none: they are out of sight", n, failed)
	}
	if err := tryAgain(s); err != nil {
		t.Fatal(err)
	}
	if err := issue(s, 100, 140); err != nil {
		t.Errorf("in the place of those: %v", err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if st := open(t, path, &Options{MaxTokens: 40}).Stats(); st.Tokens != 40 {
		t.Errorf("the file has %d; want 40", st.Tokens)
	}
}

// TestSweptAndPutAgain: what a Sweep that failed still has to delete is spared if it
// has been put again, written by now or not.
func TestSweptAndPutAgain(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 3)
	s := open(t, path, nil)
	disk := stop(t, s)
	disk.fail = errDisk
	close(disk.open)
	if n, err := s.Sweep(ctx, afterAll(), 3); n != 0 || !errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("Sweep: %d, %v; want ErrUnavailable", n, err)
	}
	letCommits(s)
	put(t, s, record(1))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, nil)
	if got, err := s.Get(ctx, record(1).ID); err != nil || !got.Equal(record(1)) || s.Stats().Tokens != 1 {
		t.Errorf("after opening again: %+v, %v, %d tokens", got, err, s.Stats().Tokens)
	}
}
