package bolt

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestCompactThatCloseOvertakes: a Compact that waits for the tree, and has it when Close has
// closed the file, says that the store is closed. It used to take the log into the closed file.
func TestCompactThatCloseOvertakes(t *testing.T) {
	path, _ := makeFileIn(t, quickDir(t), 0)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(1))
	s.tree.Turn.Take()
	compacted := async(func() error { return s.Compact(t.Context()) })
	time.Sleep(20 * time.Millisecond)
	closed := async(s.Close)
	time.Sleep(20 * time.Millisecond)
	s.tree.Turn.Give() // wakes Compact, which loses the turn to the next line and waits behind Close
	if s.tree.Turn.Try() {
		time.Sleep(10 * time.Millisecond)
		s.tree.Turn.Give()
	}
	if err := <-compacted; err != nil && !errors.Is(err, storage.ErrClosed) {
		t.Errorf("Compact: %v; want ErrClosed", err)
	}
	if err := <-closed; err != nil {
		t.Errorf("Close: %v", err)
	}
	if got := open(t, path, nil).Stats().Tokens; got != 1 {
		t.Errorf("%d records; want 1", got)
	}
}
