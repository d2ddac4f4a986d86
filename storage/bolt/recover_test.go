package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

var errDisk = errors.New("the disk is gone")

// failCommit has the next commit fail as do says, and those after it succeed.
func failCommit(s *Store, fail func(do func() error) error) {
	failed := false
	onWrite(s, func(do func() error) error {
		if failed {
			return do()
		}
		failed = true
		return fail(do)
	})
}

// syncLost writes, and says that the outcome is unknown: what a sync does that fails after the
// pages were written.
func syncLost(do func() error) error { return errors.Join(do(), errUnknown) }

// notWritten says that the outcome is unknown, and has written nothing.
func notWritten(func() error) error { return errUnknown }

var errUnknown = fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, errDisk)

// tryAgain does what the store does every second after a write has failed.
func tryAgain(s *Store) error { return s.flush() }

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

// TestOutcomeUnknown: whether the group reached the disk or not, what it ends counts as ended at
// once, and the rest of it as not written. The next write has the file say the same, and so
// has Close.
func TestOutcomeUnknown(t *testing.T) {
	for name, fails := range map[string]func(func() error) error{"written": syncLost, "not written": notWritten} {
		for _, next := range []string{"a write", "Close", "the next try"} {
			t.Run(name+", then "+next, func(t *testing.T) {
				inBoth(t, lazy, func(t *testing.T, opts *Options) { outcomeUnknown(t, opts, fails, next) })
			})
		}
	}
}

func outcomeUnknown(t *testing.T, opts *Options, fails func(func() error) error, next string) {
	path, _ := makeFile(t, 10)
	s := open(t, path, opts)
	touched := touch(t, s, record(3), by(record(3), time.Minute))
	failCommit(s, fails)
	fresh, renamed := record(15), record(8) // of the subject of 1
	renamed.Name = "another"
	err := putting(s, fresh, renamed, ended(record(1)))
	if !errors.Is(err, storage.ErrOutcomeUnknown) || !errors.Is(err, errDisk) || errors.Is(err, storage.ErrUnavailable) {
		t.Fatalf("Update: %v; want ErrOutcomeUnknown, and what made it", err)
	}
	if st := s.Stats(); !errors.Is(st.Err, errDisk) {
		t.Errorf("afterwards: Stats.Err %v; want the cause", st.Err)
	}
	check := func(when string, s *Store) {
		t.Helper()
		if _, err := s.Get(context.Background(), fresh.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("%s: what it put: %v; want ErrNotFound", when, err)
		}
		for _, want := range []storage.Record{ended(record(1)), record(8), touched} {
			if got := shown(t, s, want.ID); !got.Equal(want) {
				t.Errorf("%s: %+v; want %+v", when, got, want)
			}
		}
	}
	check("at once", s)
	switch next {
	case "a write":
		put(t, s, record(20))
	case "the next try":
		if err := tryAgain(s); err != nil {
			t.Fatal(err)
		}
	}
	if next != "Close" {
		if err := s.flush(); err != nil || s.Stats().Err != nil {
			t.Errorf("a flush: %v, Stats.Err %v; want none", err, s.Stats().Err)
		}
		check("after a crash", openCrashed(t, path))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("after reopening", open(t, path, nil))
}

// openCrashed opens what a crash would leave of the store at path.
func openCrashed(t *testing.T, path string) *Store {
	t.Helper()
	crashed := filepath.Join(t.TempDir(), "crashed.db")
	copyStoreFiles(t, path, crashed)
	return open(t, crashed, nil)
}

// copyStoreFiles copies the file at path and its log, if there is one.
func copyStoreFiles(t *testing.T, path, to string) {
	t.Helper()
	copyFile(t, path, to)
	if _, err := os.Stat(logPath(path)); err == nil {
		copyFile(t, logPath(path), logPath(to))
	}
}

// TestTrouble: as long as the disk fails, nothing is written, checks go on, and what was to be
// ended is denied; once it works, the end is made durable, and the store goes on.
func TestTrouble(t *testing.T) {
	inBoth(t, lazy, trouble)
}

func trouble(t *testing.T, opts *Options) {
	ctx := context.Background()
	path, _ := makeFile(t, 10)
	s := open(t, path, opts)
	fresh, doomed := record(15), record(1)
	fail := syncLost
	onWrite(s, func(do func() error) error { return fail(do) })
	if err := putting(s, fresh, ended(doomed)); !errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Fatalf("Update: %v; want ErrOutcomeUnknown", err)
	}
	onWrite(s, func(do func() error) error { return errDisk })
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
		for name, err := range map[string]error{
			"Update": putting(s, record(20)), "Backup": s.Backup(ctx, new(strings.Builder)), "trying again": tryAgain(s),
		} {
			if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Errorf("%s: %v; want ErrUnavailable", name, err)
			}
		}
		if s.Stats().Err == nil {
			t.Error("Stats.Err is nil")
		}
	}
	if n, err := s.Sweep(ctx, record(1).IssuedAt.Add(time.Millisecond), 10); n != 0 || !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Sweep: %d, %v; want ErrUnavailable", n, err)
	}
	letCommits(s)
	if err := tryAgain(s); err != nil {
		t.Fatalf("when the disk works again: %v", err)
	}
	if s.Stats().Err != nil {
		t.Errorf("Stats.Err: %v", s.Stats().Err)
	}
	if _, err := s.Get(ctx, doomed.ID); !errors.Is(err, storage.ErrNotFound) {
		t.Errorf("what was ended, and swept: %v", err)
	}
	put(t, s, record(20))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	s = open(t, path, nil)
	for _, want := range []storage.Record{touched, record(20)} {
		if got := shown(t, s, want.ID); !got.Equal(want) {
			t.Errorf("in the end: %+v; want %+v", got, want)
		}
	}
	for _, gone := range []storage.Record{fresh, doomed} {
		if _, err := s.Get(ctx, gone.ID); !errors.Is(err, storage.ErrNotFound) {
			t.Errorf("in the end: %v; want ErrNotFound", err)
		}
	}
}

// TestCloseInTrouble: Close says that an end of unknown outcome may be lost, comes back, and
// lets go of the file.
func TestCloseInTrouble(t *testing.T) {
	inBoth(t, lazy, func(t *testing.T, opts *Options) {
		path, _ := makeFile(t, 3)
		s := open(t, path, opts)
		onWrite(s, syncLost)
		if err := putting(s, ended(record(1))); !errors.Is(err, storage.ErrOutcomeUnknown) {
			t.Fatal(err)
		}
		onWrite(s, func(func() error) error { return errDisk })
		if err := s.Close(); !errors.Is(err, errDisk) {
			t.Errorf("Close: %v; want the error: the end is not known to be in the file", err)
		}
		open(t, path, nil)
	})
}

// TestSweepOfUnknownOutcome: what was swept stays out of sight, and is deleted in the end,
// whether the deletion happened or not.
func TestSweepOfUnknownOutcome(t *testing.T) {
	for name, fails := range map[string]func(do func() error) error{
		"happened": syncLost, "unknown, did not": notWritten, "did not": func(func() error) error { return errDisk },
	} {
		t.Run(name, func(t *testing.T) {
			inBoth(t, lazy, func(t *testing.T, opts *Options) {
				ctx := context.Background()
				path, _ := makeFile(t, 10)
				s := open(t, path, opts)
				failCommit(s, fails)
				before := record(9).ExpiresAt.AddDate(1, 0, 0)
				if n, err := s.Sweep(ctx, before, 100); n != 0 || err == nil {
					t.Errorf("Sweep: %d, %v; want an error", n, err)
				}
				if got := s.table.Len(); got != 0 {
					t.Errorf("%d records are in sight", got)
				}
				if err := tryAgain(s); err != nil {
					t.Fatal(err)
				}
				if n := openCrashed(t, path).Stats().Tokens; n != 0 {
					t.Errorf("%d records after a crash", n)
				}
				for n := range 10 {
					if got := inFile(t, s, record(n).ID); got.ID != (storage.ID{}) {
						t.Errorf("record %d is still in the file", n)
					}
				}
			})
		})
	}
}
