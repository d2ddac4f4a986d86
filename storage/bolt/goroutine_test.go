package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// goroutines returns the stacks of all of them, by what names each.
func goroutines() map[string]string {
	b := make([]byte, 1<<20)
	b = b[:runtime.Stack(b, true)]
	all := make(map[string]string)
	for _, stack := range strings.Split(string(b), "\n\n") {
		name, _, _ := strings.Cut(stack, " [")
		all[name] = stack
	}
	return all
}

// started returns the stacks of those that were not there before. One that is on its
// way out when it is looked for is given the time to go.
func started(before map[string]string, want int) (stacks []string) {
	for range 10_000 {
		stacks = nil
		for name, stack := range goroutines() {
			if _, ok := before[name]; !ok {
				stacks = append(stacks, stack)
			}
		}
		if len(stacks) == want {
			break
		}
		runtime.Gosched()
	}
	return stacks
}

// TestStartedFindsOne that was started on purpose.
func TestStartedFindsOne(t *testing.T) {
	before, quit := goroutines(), make(chan struct{})
	go func() { <-quit }()
	if stacks := started(before, 1); len(stacks) != 1 {
		t.Errorf("found %d; want 1", len(stacks))
	}
	close(quit)
	if stacks := started(before, 0); len(stacks) != 0 {
		t.Errorf("found %d after it has ended", len(stacks))
	}
}

// TestThreeGoroutines belong to an open store, none to one that was closed or could not
// be opened.
func TestThreeGoroutines(t *testing.T) {
	ctx := context.Background()
	for _, row := range []struct {
		name string
		use  func(t *testing.T, s *Store, path string)
	}{
		{"nothing", func(*testing.T, *Store, string) {}},
		{"all methods", func(t *testing.T, s *Store, _ string) {
			put(t, s, record(1), record(2))
			_, sweep := s.Sweep(ctx, afterAll(), 1)
			contents(t, s)
			backup(t, s)
			if err := errors.Join(sweep, s.Touch(ctx, record(2).ID, storage.Use{At: record(3).ExpiresAt}), s.Compact(ctx)); err != nil {
				t.Error(err)
			}
		}},
		{"writes that fail", func(t *testing.T, s *Store, _ string) {
			disk := stop(t, s)
			disk.fail = errDisk
			close(disk.open)
			s.Touch(ctx, record(1).ID, storage.Use{At: record(3).ExpiresAt})
			if err := end(s, 2); !errors.Is(err, errDisk) {
				t.Errorf("Update: %v", err)
			}
		}},
		{"an unknown outcome", func(t *testing.T, s *Store, _ string) {
			loseCommit(t, s, true)
			if err := end(s, 2); !errors.Is(err, storage.ErrOutcomeUnknown) {
				t.Errorf("Update: %v", err)
			}
		}},
		{"a file that was deleted", func(t *testing.T, s *Store, path string) {
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if err := end(s, 2); !errors.Is(err, ErrReplaced) {
				t.Errorf("Update: %v", err)
			}
		}},
		{"an fn that panics", func(t *testing.T, s *Store, _ string) {
			defer func() { recover() }()
			s.Update(ctx, "ana", func(storage.Tx) error { panic("no") })
		}},
	} {
		path, _ := makeFile(t, 3)
		before := goroutines()
		s, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if stacks := started(before, 3); len(stacks) != 3 {
			t.Errorf("%s: after Open there are\n%s", row.name, strings.Join(stacks, "\n\n"))
		}
		row.use(t, s, path)
		if stacks := started(before, 3); len(stacks) != 3 {
			t.Errorf("%s: afterwards there are\n%s", row.name, strings.Join(stacks, "\n\n"))
		}
		s.Close()
		if stacks := started(before, 0); len(stacks) != 0 {
			t.Errorf("%s: after Close there are\n%s", row.name, strings.Join(stacks, "\n\n"))
		}
	}
}

// TestNoGoroutineOfAFailedOpen, wherever it fails.
func TestNoGoroutineOfAFailedOpen(t *testing.T) {
	path, good := makeFile(t, 300)
	locked, _ := makeFile(t, 3)
	open(t, locked, nil)
	damaged, cut := filepath.Join(t.TempDir(), "damaged.db"), filepath.Join(t.TempDir(), "cut.db")
	other := filepath.Join(t.TempDir(), "other.db")
	if err := errors.Join(os.WriteFile(damaged, hollow(good), 0o600), os.WriteFile(cut, good[:9000], 0o600),
		os.WriteFile(other, otherProgram(t, true), 0o600)); err != nil {
		t.Fatal(err)
	}
	before := goroutines()
	for _, row := range []struct {
		path string
		opts Options
	}{
		{locked, Options{LockTimeout: time.Millisecond}}, {damaged, Options{}}, {cut, Options{}}, {other, Options{}},
		{path, Options{MaxTokens: 1}}, {path, Options{MaxTokens: -1}}, {t.TempDir(), Options{}},
	} {
		if s, err := Open(row.path, &row.opts); err == nil {
			s.Close()
			t.Errorf("%s: opened", row.path)
		}
	}
	if stacks := started(before, 0); len(stacks) != 0 {
		t.Errorf("there are\n%s", strings.Join(stacks, "\n\n"))
	}
}

// TestNothingWaitsForEver: in the bubble a goroutine or a timer that is left behind is
// an error by itself.
func TestNothingWaitsForEver(t *testing.T) {
	path, _ := makeFile(t, 3)
	synctest.Test(t, func(t *testing.T) {
		s, err := Open(path, &Options{FlushEvery: 24 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		if err := s.Touch(context.Background(), record(1).ID, storage.Use{At: record(1).ExpiresAt}); err != nil {
			t.Error(err)
		}
		synctest.Wait()
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if took := time.Since(begin); took != 0 {
			t.Errorf("Close waited %v for a timer", took)
		}
	})
}

// TestClosedStore answers ErrClosed everywhere, at once, and Stats still answers.
func TestClosedStore(t *testing.T) {
	ctx := context.Background()
	for _, every := range []time.Duration{0, FlushAtOnce} {
		path, before := makeFile(t, 3)
		s := open(t, path, &Options{FlushEvery: every})
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		r := record(1)
		_, get := s.Get(ctx, r.ID)
		_, sweep := s.Sweep(ctx, afterAll(), 10)
		var list []error
		for _, err := range s.List(ctx, storage.Filter{}) {
			list = append(list, err)
		}
		for what, err := range map[string]error{
			"Get": get, "Sweep": sweep, "List": errors.Join(list...),
			"Touch":   s.Touch(ctx, r.ID, storage.Use{At: r.ExpiresAt}),
			"Update":  s.Update(ctx, r.Subject, func(storage.Tx) error { t.Error("fn ran"); return nil }),
			"Backup":  s.Backup(ctx, new(bytes.Buffer)),
			"Compact": s.Compact(ctx),
		} {
			if !errors.Is(err, storage.ErrClosed) {
				t.Errorf("%s: %v; want ErrClosed", what, err)
			}
		}
		if st := s.Stats(); st.Tokens != 3 || st.FileSize != int64(len(before)) || st.Unsaved != 0 || st.Err != nil {
			t.Errorf("Stats: %+v; want 3 tokens, %d bytes", st, len(before))
		}
		if err := s.Close(); err != nil || len(list) != 1 {
			t.Errorf("Close again: %v; List yielded %d errors", err, len(list))
		}
		if !bytes.Equal(before, readFile(t, path)) {
			t.Error("the file has changed")
		}
	}
}
