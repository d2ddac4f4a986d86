package bolt

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

var errDisk = errors.New("the disk is gone")

// failCommit has the next commit fail as do says, and those after it succeed.
func failCommit(s *Store, fail func(do func() error) error) {
	s.turn.Take()
	defer s.turn.Give()
	failed := false
	onWrite(s, func(do func() error) error {
		if failed {
			return do()
		}
		failed = true
		return fail(do)
	})
}

// syncLost writes, and says that it has failed: what a sync does that fails after the
// pages were written.
func syncLost(do func() error) error { return errors.Join(do(), errDisk) }

// tryAgain does what the store does every second in a time of trouble.
func tryAgain(s *Store) error {
	s.turn.Take()
	defer s.turn.Give()
	return s.recover()
}

// TestCommitThatFails: neither meta page leads to it, so it did not happen, and
// nothing else is the matter.
func TestCommitThatFails(t *testing.T) {
	s := openNew(t, nil)
	put(t, s, record(1))
	failCommit(s, func(func() error) error { return errDisk })
	err := putting(s, record(8))
	if !errors.Is(err, storage.ErrUnavailable) || !errors.Is(err, errDisk) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("Update: %v; want ErrUnavailable, and what made it", err)
	}
	if _, err := s.Get(context.Background(), record(8).ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("Get of what was not written: %v", err)
	}
	if got := s.table.Subject(nil, record(8).Subject); len(got) != 1 {
		t.Errorf("its subject has %v; want one", got)
	}
	put(t, s, record(8))
}

// TestOutcomeUnknown: the commit happened, though it failed. The store looks and
// finds it, and goes on.
func TestOutcomeUnknown(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 10)
	s, err := Open(path, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	touched := touch(t, s, record(3), by(record(3), time.Minute))
	failCommit(s, syncLost)
	fresh := record(15) // of the subject of 1
	err = putting(s, fresh, ended(record(1)))
	if !errors.Is(err, storage.ErrOutcomeUnknown) || !errors.Is(err, errDisk) || errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("Update: %v; want ErrOutcomeUnknown, and what made it", err)
	}
	if st := s.Stats(); st.Err != nil {
		t.Errorf("afterwards: %v; want no trouble", st.Err)
	}
	check := func(when string) {
		t.Helper()
		if got := shown(t, s, fresh.ID); !got.Equal(fresh) {
			t.Errorf("%s: what it put is %+v", when, got)
		}
		if got := shown(t, s, record(1).ID); !got.Equal(ended(record(1))) {
			t.Errorf("%s: what it ended is %+v", when, got)
		}
		if got := shown(t, s, record(3).ID); !got.Equal(touched) {
			t.Errorf("%s: what was touched before is %+v", when, got)
		}
	}
	check("at once")
	if n, err := s.Sweep(ctx, record(0).IssuedAt, 10); n != 0 || err != nil {
		t.Errorf("Sweep: %d, %v", n, err)
	}
	put(t, s, record(20))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	check("after reopening")
}

// lose damages a meta page, so that the file is refused, and nobody can tell what became
// of the frame that fails now.
func lose(t *testing.T, path string) (was []byte) {
	t.Helper()
	was, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := checkMetas(f)
	if err == nil {
		_, err = f.WriteAt(make([]byte, metaLen), int64((m.tx+1)%2*m.pageSize)+pageHeader)
	}
	if err != nil {
		t.Fatal(err)
	}
	return was
}

// TestTrouble: as long as the file cannot be trusted, nothing is written, checks go
// on, and what was to be ended is denied; once it can be, the end is made durable
// before anything else, and the store goes on.
func TestTrouble(t *testing.T) {
	ctx := context.Background()
	path, _ := makeFile(t, 10)
	s, err := Open(path, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	fresh, doomed := record(15), record(1)
	var before []byte
	failCommit(s, func(do func() error) error {
		before = lose(t, path)
		return syncLost(do)
	})
	if err := putting(s, fresh, ended(doomed)); !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatalf("Update: %v; want ErrOutcomeUnknown", err)
	}
	touched := record(4)
	for range 2 {
		if got := shown(t, s, doomed.ID); got.EndReason != storage.EndRevoked {
			t.Errorf("what was to be ended: %+v; want it denied", got)
		}
		if _, err := s.Get(ctx, fresh.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("what was to be issued: %v; want ErrNotFound", err)
		}
		touched = touch(t, s, touched, by(touched, time.Minute))
		if got := shown(t, s, touched.ID); !got.Equal(touched) {
			t.Errorf("a check meanwhile: %+v; want %+v", got, touched)
		}
		_, swept := s.Sweep(ctx, record(9).ExpiresAt.AddDate(1, 0, 0), 10)
		for name, err := range map[string]error{
			"Update": putting(s, record(20)), "Sweep": swept, "Stats": s.Stats().Err, "Backup": s.Backup(new(strings.Builder)),
			"Compact": s.Compact(ctx), "looking again": tryAgain(s),
		} {
			if !errors.Is(err, storage.ErrUnavailable) && name != "looking again" || errors.Is(err, storage.ErrOutcomeUnknown) || err == nil {
				t.Errorf("%s: %v; want ErrUnavailable", name, err)
			}
		}
	}
	if err := os.WriteFile(path, before, 0); err != nil {
		t.Fatal(err)
	}
	if err := tryAgain(s); err != nil {
		t.Fatalf("looking again, at a file in order: %v", err)
	}
	if got := inFile(t, s, doomed.ID); !got.Equal(ended(doomed)) {
		t.Errorf("what was to be ended is %+v in the file", got)
	}
	put(t, s, record(20))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, want := range []storage.Record{ended(doomed), touched, record(20)} {
		if got := shown(t, s, want.ID); !got.Equal(want) {
			t.Errorf("in the end: %+v; want %+v", got, want)
		}
	}
	if _, err := s.Get(ctx, fresh.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what was to be issued: %v; want ErrNotFound", err)
	}
}

// TestCloseInTrouble: Close says that an end of unknown outcome may be lost, comes
// back, and lets go of the file.
func TestCloseInTrouble(t *testing.T) {
	path, _ := makeFile(t, 3)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	var before []byte
	failCommit(s, func(do func() error) error {
		before = lose(t, path)
		return syncLost(do)
	})
	if err := putting(s, ended(record(1))); !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatal(err)
	}
	if err := s.Close(); err == nil {
		t.Error("Close: nil; want an error: the end is not in the file")
	}
	if err := os.WriteFile(path, before, 0); err != nil {
		t.Fatal(err)
	}
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	s.Close()
}

// TestSweepOfUnknownOutcome: what was swept stays out of sight, and is deleted in the
// end, whether the deletion happened or not.
func TestSweepOfUnknownOutcome(t *testing.T) {
	ctx := context.Background()
	for name, fails := range map[string]func(t *testing.T, path string) func(do func() error) error{
		"happened": func(*testing.T, string) func(func() error) error { return syncLost },
		"did not":  func(*testing.T, string) func(func() error) error { return func(func() error) error { return errDisk } },
		"nobody knows": func(t *testing.T, path string) func(func() error) error {
			return func(do func() error) error {
				was := lose(t, path)
				t.Cleanup(func() { os.WriteFile(path, was, 0) })
				return syncLost(do)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, good := makeFile(t, 10)
			s, err := Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			failCommit(s, fails(t, path))
			before := record(9).ExpiresAt.AddDate(1, 0, 0)
			if n, err := s.Sweep(ctx, before, 100); n != 0 || err == nil {
				t.Errorf("Sweep: %d, %v; want an error", n, err)
			}
			if s.Stats().Err != nil {
				if err := os.WriteFile(path, good, 0); err != nil {
					t.Fatal(err)
				}
				if err := tryAgain(s); err != nil {
					t.Fatal(err)
				}
			}
			if got := s.table.Len(); got != 0 {
				t.Errorf("%d records are in sight", got)
			}
			if _, err := s.Sweep(ctx, before, 100); err != nil {
				t.Errorf("Sweep, again: %v", err)
			}
			for n := range 10 {
				if got := inFile(t, s, record(n).ID); got.ID != (storage.ID{}) {
					t.Errorf("record %d is still in the file", n)
				}
			}
		})
	}
}
