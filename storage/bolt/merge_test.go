package bolt

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// onMerge has f commit the transactions of s.
func onMerge(s *Store, f func(*bbolt.Tx) error) {
	s.turn.Take()
	defer s.turn.Give()
	s.log.tree.commitTx = f
}

// putLarge puts large records from n on, one at a time, until that many have failed or
// done says so, and returns the number after the last one, and the last error.
func putLarge(s *Store, n, failures int, done func() bool) (int, error) {
	var last error
	for ; failures > 0 && !done(); n++ {
		for err := putting(s, large(n)); err != nil; err = putting(s, large(n)) {
			if last, failures = err, failures-1; failures == 0 {
				return n, last
			}
		}
	}
	return n, last
}

// rounds is a done for putLarge: the journal of s has been begun anew that often.
func rounds(s *Store, n int) func() bool {
	in := s.log.journal.in
	return func() bool {
		if now := s.log.journal.in; now != in {
			in, n = now, n-1
		}
		return n <= 0
	}
}

// hasLarge checks that s shows the large records below n.
func hasLarge(t *testing.T, when string, s *Store, n int) {
	t.Helper()
	for i := range n {
		if got, err := s.Get(context.Background(), large(i).ID); err != nil || !got.Equal(large(i)) {
			t.Errorf("%s: record %d of %d: %v", when, i, n, err)
			return
		}
	}
}

func never() bool { return false }

// TestMergeThatFails: while nothing can be merged writes go on until the journal is full,
// and reads for ever; once it can be everything goes on.
func TestMergeThatFails(t *testing.T) {
	for _, cause := range []error{syscall.ENOSPC, errDisk} {
		t.Run(cause.Error(), func(t *testing.T) {
			path, _ := makeFile(t, 3)
			before := goroutines()
			s := open(t, path, &lazy)
			var well atomic.Bool
			onMerge(s, func(btx *bbolt.Tx) error {
				if well.Load() {
					return btx.Commit()
				}
				return cause
			})
			n, err := putLarge(s, 0, 3, never)
			if frames := 2 * leastHalf / (2 * blockLen); n != frames {
				t.Errorf("%d writes went on; want the %d for which there is room", n, frames)
			}
			if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) || !errors.Is(err, cause) ||
				errors.Is(err, ErrDiskFull) != (cause == error(syscall.ENOSPC)) {
				t.Errorf("Update: %v; want ErrUnavailable, and %v", err, cause)
			}
			if st := s.Stats(); st.Err != nil {
				t.Errorf("Stats: %v; want no trouble", st.Err)
			}
			hasLarge(t, "meanwhile", s, n)
			touched := touch(t, s, record(1), by(record(1), time.Millisecond))
			well.Store(true)
			if n, err = putLarge(s, n, 1, rounds(s, 3)); err != nil {
				t.Errorf("Update once it can be merged: %v", err)
			}
			hasLarge(t, "afterwards", s, n)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			if left := started(before, 0); len(left) > 0 {
				t.Errorf("there are\n%s", left)
			}
			s = open(t, path, nil)
			hasLarge(t, "opened again", s, n)
			if got := shown(t, s, touched.ID); !got.Equal(touched) {
				t.Errorf("what was touched is %+v", got)
			}
		})
	}
}

// TestCloseWithoutMerge: what cannot be merged when the store is closed is merged when it
// is opened, and no goroutine waits for it.
func TestCloseWithoutMerge(t *testing.T) {
	for _, writes := range []int{1, 40} { // in one half, and in both
		path, _ := makeFile(t, 3)
		before := goroutines()
		s := open(t, path, &lazy)
		onMerge(s, func(*bbolt.Tx) error { return errDisk })
		for n := range writes {
			put(t, s, large(n))
		}
		if err := s.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
		if left := started(before, 0); len(left) > 0 {
			t.Errorf("there are\n%s", left)
		}
		s = open(t, path, nil)
		hasLarge(t, "opened again", s, writes)
		put(t, s, large(writes))
	}
}

// TestMergeOfUnknownOutcome: the store looks at its file anew, and goes on. What the
// journal has is certain all the time.
func TestMergeOfUnknownOutcome(t *testing.T) {
	blind := func(s *Store) error {
		f, err := os.Open(s.log.path)
		s.log.tree.file = f // which takes no meta page
		return err
	}
	for name, fail := range map[string]func(s *Store, btx *bbolt.Tx) error{
		"it happened":       func(_ *Store, btx *bbolt.Tx) error { return errors.Join(btx.Commit(), errDisk) },
		"it did not mirror": func(s *Store, btx *bbolt.Tx) error { return errors.Join(btx.Commit(), blind(s)) },
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := makeFile(t, 3)
			s := open(t, path, &lazy)
			var failed atomic.Int32
			onMerge(s, func(btx *bbolt.Tx) error {
				if failed.Add(1) == 1 {
					return fail(s, btx)
				}
				return btx.Commit()
			})
			n, err := putLarge(s, 0, 3, rounds(s, 6))
			if failed.Load() == 0 || errors.Is(err, storage.ErrOutcomeUnknown) || err != nil && !errors.Is(err, storage.ErrUnavailable) {
				t.Errorf("after %d commits: %v; want ErrUnavailable once at most", failed.Load(), err)
			}
			if st := s.Stats(); st.Err != nil || st.Failed > 1 {
				t.Errorf("Stats: %+v; want one failure at most, and no trouble", st)
			}
			hasLarge(t, "at once", s, n)
			if err := s.Close(); err != nil {
				t.Error(err)
			}
			hasLarge(t, "opened again", open(t, path, nil), n)
		})
	}
}

// TestMergeByWhoCannotWait: where nobody takes what is to be merged, whoever needs the
// room merges.
func TestMergeByWhoCannotWait(t *testing.T) {
	s := openNew(t, &lazy)
	merged := make(chan uint64, 100)
	s.turn.Take()
	s.log.merges = make(chan *merging, 1)
	s.log.tree.commitTx = func(btx *bbolt.Tx) error {
		merged <- s.log.tree.seq
		return btx.Commit()
	}
	s.turn.Give()
	n, err := putLarge(s, 0, 1, rounds(s, 4))
	if err != nil {
		t.Fatal(err)
	}
	hasLarge(t, "in the end", s, n)
	if len(merged) != 3 || len(s.log.merges) != 1 {
		t.Errorf("%d merges of 4 full halves, and %d to be done; want 3 and 1", len(merged), len(s.log.merges))
	}
}

// TestDueHalf: the halves of a file.
func TestDueHalf(t *testing.T) {
	for _, row := range []struct {
		size int64
		want int
	}{
		{-1, 256 << 10}, {0, 256 << 10}, {1, 256 << 10}, {4<<20 - 1, 256 << 10}, {4 << 20, 512 << 10}, {4<<20 + 1, 512 << 10},
		{8<<20 - 1, 512 << 10}, {8 << 20, 1 << 20}, {16<<20 - 1, 1 << 20}, {16 << 20, 2 << 20}, {32 << 20, 2 << 20},
		{1 << 40, 2 << 20}, {math.MaxInt64, 2 << 20},
	} {
		if got := dueHalf(row.size); got != row.want {
			t.Errorf("%d bytes: %d; want %d", row.size, got, row.want)
		}
	}
}

// TestJournalGrows with its file, and Compact makes it as small again as it was.
func TestJournalGrows(t *testing.T) {
	path := quickDir(t) + "/tokens.db"
	s := open(t, path, &lazy)
	const each, updates = 40, 40
	for i := range updates {
		var records []storage.Record
		for n := range each {
			r := large(i*each + n)
			r.Subject = "ana"
			records = append(records, r)
		}
		if err := putting(s, records...); err != nil {
			t.Fatal(err)
		}
		if half, due := s.log.journal.half, dueHalf(s.log.size); half > due || 4*half <= due {
			t.Fatalf("after %d updates, in a file of %d: halves of %d; want %d, or half of that", i, s.log.size, half, due)
		}
	}
	if half := s.log.journal.half; half < 2*leastHalf {
		t.Errorf("halves of %d; want more than %d", half, leastHalf)
	}
	if n, err := s.Sweep(t.Context(), afterAll(), each*updates-1); err != nil || n != each*updates-1 {
		t.Fatal(n, err)
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(path)
	if err != nil || s.log.journal.half != leastHalf || info.Size() > int64(regionLen(leastHalf)+2*allocSize) {
		t.Errorf("compacted: halves of %d in %d bytes, %v; want %d", s.log.journal.half, info.Size(), err, leastHalf)
	}
	put(t, s, record(1))
}

// TestUpdateLongerThanAHalf makes room for itself, and is one frame.
func TestUpdateLongerThanAHalf(t *testing.T) {
	for _, blocks := range []int{leastHalf / blockLen, leastHalf/blockLen + 1} {
		path, _ := makeFile(t, 3)
		s := open(t, path, &lazy)
		put(t, s, record(5))
		frames := 0
		s.turn.Take()
		onWrite(s, func(do func() error) error { frames++; return do() })
		s.turn.Give()
		var records []storage.Record
		for bytes := frameHeader + entryHeader + markLen; bytes <= (blocks-1)*blockLen; {
			r := large(len(records))
			r.Subject = "ana"
			value, err := encode(&r)
			if err != nil {
				t.Fatal(err)
			}
			records, bytes = append(records, r), bytes+entryHeader+len(value)
		}
		if err := putting(s, records...); err != nil || frames != 1 {
			t.Errorf("%d frames, %v; want one", frames, err)
		}
		if half := s.log.journal.half; half < blocks*blockLen || half > (blocks+1)*blockLen {
			t.Errorf("halves of %d; want some %d", half, blocks*blockLen)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if s = open(t, path, nil); s.Stats().Tokens != len(records)+4 {
			t.Error(fmt.Sprint("opened again: ", s.Stats().Tokens, " records"))
		}
	}
}
