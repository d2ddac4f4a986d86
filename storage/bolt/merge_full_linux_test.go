package bolt

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

const lateMerger = "late-merger"

func init() { children[lateMerger] = func(path string) { fmt.Print(mergeOnFull(path)) } }

// TestOpenOnAFullDisk: what is in the journal is shown, though there is no room to merge
// it, and merged by the first write for which there is.
func TestOpenOnAFullDisk(t *testing.T) {
	path, _ := makeFile(t, 20)
	s := open(t, path, &lazy)
	s.turn.Take()
	s.log.merges = make(chan *merging, 1) // nobody merges
	s.turn.Give()
	const n = 60 // both halves
	for i := range n {
		put(t, s, large(i))
	}
	put(t, s, ended(record(3)))
	if s.log.tree.seq > 20 {
		t.Error("some of it is in the tree")
	}
	copyFile(t, path, path+".crashed")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if says := childSays(t, lateMerger, path+".crashed"); says != "<nil>" {
		t.Fatal(says)
	}
	s = open(t, path+".crashed", nil)
	hasLarge(t, "opened again", s, n+1)
	if got := shown(t, s, record(3).ID); !got.Equal(ended(record(3))) {
		t.Errorf("what was ended is %+v", got)
	}
}

// mergeOnFull says what went otherwise than it should. The limit is one of the whole
// process.
func mergeOnFull(path string) error {
	makeRoom, err := noRoom(path)
	if err != nil {
		return err
	}
	s, err := Open(path, nil)
	if err != nil {
		return fmt.Errorf("Open: %w", err)
	}
	n := 0
	for ; ; n++ {
		got, err := s.Get(context.Background(), large(n).ID)
		if errors.Is(err, storage.ErrNotFound) {
			break
		}
		if err != nil || !got.Equal(large(n)) {
			return fmt.Errorf("Get of %d: %+v, %w", n, got, err)
		}
	}
	for range 3 {
		if err := putting(s, large(n)); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, ErrDiskFull) {
			return fmt.Errorf("Update: %w; want ErrUnavailable and ErrDiskFull", err)
		}
	}
	if got, err := s.Get(context.Background(), record(3).ID); err != nil || !got.Equal(ended(record(3))) {
		return fmt.Errorf("Get of what was ended: %+v, %w", got, err)
	}
	if err := makeRoom(); err != nil {
		return err
	}
	return errors.Join(putting(s, large(n)), s.Close())
}
