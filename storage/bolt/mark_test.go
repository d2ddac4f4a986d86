package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

var markInstant = time.Date(2026, 1, 5, 9, 0, 0, 123e6, time.UTC)

// ahead raises the marks of s by d, and returns them.
func ahead(s *Store, d time.Duration) storage.Mark {
	marks := s.Marks()
	marks.Raise(max(marks.At(), markInstant.UnixMilli())+d.Milliseconds(), marks.Epoch())
	return marks.Mark()
}

// markIn returns the mark in the file of s.
func markIn(t *testing.T, s *Store) (m storage.Mark) {
	t.Helper()
	merged(t, s, func(btx *bbolt.Tx) error {
		var ok bool
		if m, ok = wire.DecodeMark(btx.Bucket([]byte(tree.MetaBucket)).Get([]byte(tree.MarkKey))); !ok {
			return errors.New("the mark in the file is damaged")
		}
		return nil
	})
	return m
}

// TestMarkCostsNoCommit: it is in the transaction of every kind of write there is.
func TestMarkCostsNoCommit(t *testing.T) {
	s := openNew(t, &lazy)
	put(t, s, record(1), record(2), record(3))
	for _, row := range []struct {
		name  string
		write func() error
	}{
		{"put", func() error { return putting(s, record(4)) }},
		{"end", func() error { return putting(s, ended(record(1))) }},
		{"flush", func() error {
			touch(t, s, record(2), by(record(2), time.Minute))
			return s.flush()
		}},
		{"sweep", func() error {
			n, err := s.Sweep(context.Background(), record(3).ExpiresAt.Add(1000*time.Hour), 1)
			if n != 1 {
				t.Errorf("%d swept", n)
			}
			return err
		}},
	} {
		before := s.Stats().Commits
		want := ahead(s, time.Second)
		if err := row.write(); err != nil {
			t.Fatalf("%s: %v", row.name, err)
		}
		if got := markIn(t, s); got != want {
			t.Errorf("%s: the mark in the file: %+v; want %+v", row.name, got, want)
		}
		if n := s.Stats().Commits - before; n != 1 {
			t.Errorf("%s: %d commits; want 1", row.name, n)
		}
	}
}

// TestNoMarkNoWrite: who has no Manager leaves no mark, and a mark that is what it was
// is not written.
func TestNoMarkNoWrite(t *testing.T) {
	path, _ := makeFile(t, 2)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	if got := s.Marks().Mark(); got != (storage.Mark{}) {
		t.Errorf("a store that nobody has marked: %+v", got)
	}
	want := ahead(s, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	if got := s.Marks().Mark(); got != want {
		t.Errorf("after Close: %+v; want %+v", got, want)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if after, err := os.ReadFile(path); err != nil || !bytes.Equal(before, after) {
		t.Errorf("the file was changed, %v", err)
	}
}

// TestMarkIsFlushed: a minute ahead it is written although nothing else is, and less is
// not; again if the disk was full.
func TestMarkIsFlushed(t *testing.T) {
	s := openNew(t, &lazy)
	ahead(s, 0)
	put(t, s, record(1))
	commits := s.Stats().Commits
	ahead(s, time.Minute-time.Millisecond)
	if err := s.flush(); err != nil || s.Stats().Commits != commits {
		t.Errorf("a flush, %v, has written a mark that is less than a minute ahead", err)
	}
	want := ahead(s, time.Millisecond)
	select {
	case <-s.alarm:
		wake(s.alarm)
	default: // keep has heard it
	}
	full := errors.New("no space left on device")
	onWrite(s, func(func() error) error { return full })
	if err := s.flush(); !errors.Is(err, full) || !s.Marks().Unsaved() {
		t.Errorf("a flush on a full disk: %v, and waiting: %v", err, s.Marks().Unsaved())
	}
	letCommits(s)
	if err := s.flush(); err != nil || s.Marks().Unsaved() {
		t.Errorf("the next flush: %v, and waiting: %v", err, s.Marks().Unsaved())
	}
	if got := markIn(t, s); got != want {
		t.Errorf("in the file: %+v; want %+v", got, want)
	}
}

// TestMarkSurvivesCompactAndBackup, with what has been written since.
func TestMarkSurvivesCompactAndBackup(t *testing.T) {
	path, _ := makeFile(t, 5)
	s, err := Open(path, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	marks := s.Marks()
	marks.Restart(markInstant, markInstant.Add(24*time.Hour), 0)
	marks.Lag(markInstant.Add(-time.Hour), time.Hour, time.Minute)
	put(t, s, record(7))
	want := marks.Mark()
	var copied bytes.Buffer
	if err := s.Backup(context.Background(), &copied); err != nil {
		t.Fatal(err)
	}
	if err := s.Compact(context.Background()); err != nil {
		t.Fatal(err)
	}
	if got := markIn(t, s); got != want || s.Marks() != marks {
		t.Errorf("compacted: %+v; want %+v, and the same marks", got, want)
	}
	later := ahead(s, time.Second)
	put(t, s, record(8))
	if got := markIn(t, s); got != later {
		t.Errorf("written after that: %+v; want %+v", got, later)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	backup := filepath.Join(t.TempDir(), "tokens.db")
	if err := os.WriteFile(backup, copied.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(backup, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.Marks().Mark(); got != want {
		t.Errorf("in the backup: %+v; want %+v", got, want)
	}
}

// TestMarkIsTriedAgain: by itself, every second, until the disk takes it.
func TestMarkIsTriedAgain(t *testing.T) {
	path, _ := makeFile(t, 0)
	synctest.Test(t, func(t *testing.T) {
		s := open(t, path, &Options{FlushEvery: time.Millisecond})
		defer s.Close()
		tries := 0
		onWrite(s, func(do func() error) error {
			if tries++; tries <= 3 {
				return errors.New("no space left on device")
			}
			return do()
		})
		want := ahead(s, time.Hour)
		time.Sleep(time.Minute)
		synctest.Wait()
		if got := markIn(t, s); got != want || tries != 4 || s.Marks().Unsaved() {
			t.Errorf("after %d tries the file has %+v; want %+v after 4", tries, got, want)
		}
	})
}

// TestMarkAfterAnUnknownOutcome: the store goes on with its own marks, and the file has them with
// the next write.
func TestMarkAfterAnUnknownOutcome(t *testing.T) {
	for name, fails := range map[string]func(func() error) error{"written": syncLost, "not written": notWritten} {
		t.Run(name, func(t *testing.T) {
			inBoth(t, lazy, func(t *testing.T, opts *Options) {
				s := openNew(t, opts)
				put(t, s, record(1))
				marks := s.Marks()
				want := ahead(s, time.Hour)
				failCommit(s, fails)
				if err := putting(s, record(2)); !errors.Is(err, storage.ErrOutcomeUnknown) {
					t.Errorf("Update: %v; want ErrOutcomeUnknown", err)
				}
				put(t, s, record(3))
				if got := markIn(t, s); got != want || s.Marks() != marks {
					t.Errorf("in the file %+v; want %+v", got, want)
				}
			})
		})
	}
}
