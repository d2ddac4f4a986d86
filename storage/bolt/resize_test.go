package bolt

import (
	"errors"
	"os"
	"sync/atomic"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestResizeThatFails: where the journal should be longer and there is no room for that,
// it stays as long as it is, and nobody hears of it but who needs the room.
func TestResizeThatFails(t *testing.T) {
	path, _ := makeFile(t, 3)
	s := open(t, path, &lazy)
	s.turn.Take()
	s.log.merges = make(chan *merging, 1) // nobody else merges, so that commits have an order
	s.turn.Give()
	var well atomic.Bool
	commits := 0
	onMerge(s, func(btx *bbolt.Tx) error {
		if commits++; commits%2 == 0 && !well.Load() { // after a merge
			return syscall.ENOSPC
		}
		return btx.Commit()
	})
	if err := os.Truncate(path, 2*leastHalf*halfShare); err != nil {
		t.Fatal(err)
	}
	n, err := putLarge(s, 0, 1, rounds(s, 4))
	if err != nil || s.log.journal.half != leastHalf || commits < 6 {
		t.Errorf("halves of %d after %d commits, %v; want %d", s.log.journal.half, commits, err, leastHalf)
	}
	var long []storage.Record
	for i := range leastHalf / storage.MaxData {
		r := large(10_000 + i)
		r.Subject = "ana"
		long = append(long, r)
	}
	commits = 0
	if err := putting(s, long...); !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, ErrDiskFull) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("an Update longer than a half: %v; want ErrUnavailable and ErrDiskFull", err)
	}
	put(t, s, large(n))
	well.Store(true)
	if err := putting(s, long...); err != nil || s.log.journal.half < 2*leastHalf {
		t.Errorf("once there is room: halves of %d, %v", s.log.journal.half, err)
	}
	hasLarge(t, "in the end", s, n+1)
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	s = open(t, path, nil)
	hasLarge(t, "opened again", s, n+1)
	if got := shown(t, s, long[0].ID); !got.Equal(long[0]) {
		t.Errorf("opened again: %+v", brief(got))
	}
}
