package main

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// TestCopyStore wants the file and its log copied, and no log left that belonged to the
// file that was there before.
func TestCopyStore(t *testing.T) {
	dir := t.TempDir()
	from, to := filepath.Join(dir, "from"), filepath.Join(dir, "to")
	for _, log := range []string{"a log", "", "another log"} {
		if err := errors.Join(os.RemoveAll(from+logSuffix), os.WriteFile(from, []byte("file of "+log), 0o600)); err != nil {
			t.Fatal(err)
		}
		if log != "" {
			if err := os.WriteFile(from+logSuffix, []byte(log), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := copyStore(from, to); err != nil {
			t.Fatal(err)
		}
		got, err := os.ReadFile(to)
		if err != nil || string(got) != "file of "+log {
			t.Errorf("the copy is %q, %v", got, err)
		}
		got, err = os.ReadFile(to + logSuffix)
		if string(got) != log || (err != nil) != (log == "") || err != nil && !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("its log is %q, %v; want %q", got, err, log)
		}
	}
	if err := copyStore(from+" is not there", to); !errors.Is(err, fs.ErrNotExist) {
		t.Error(err)
	}
}

// TestReopened wants a store that is closed after each turn, keeps what it acknowledged, and begins
// as the first one in the next turn.
func TestReopened(t *testing.T) {
	const tokens, turns, ops = 40, 3, 5
	w := quickWorld(t)
	s, err := w.settlingBolt("issue", tokens)
	if err != nil {
		t.Fatal(err)
	}
	r, _, err := w.reopened(tokens)
	if err != nil {
		t.Fatal(err)
	}
	for range turns {
		if _, err := s.play(oneCaller, ops); err != nil || r.store != nil {
			t.Fatalf("%v; open: %v", err, r.store != nil)
		}
		store, err := bolt.Open(r.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := store.Stats().Tokens; got != tokens+ops {
			t.Errorf("it holds %d tokens, want %d", got, tokens+ops)
		}
		if err := store.Close(); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 { // the second finds it open
		if err := r.open(0, 0); err != nil {
			t.Fatal(err)
		}
	}
	if got := r.store.Stats().Tokens; got != tokens {
		t.Errorf("opened, it holds %d tokens, want %d", got, tokens)
	}
}

// TestLots wants a lot dead when it is swept, and every token beside it alive. It plants a
// lot that is smaller than its name says.
func TestLots(t *testing.T) {
	const tokens, size = 30, 6
	w := quickWorld(t)
	path := w.file("lots.db")
	if err := w.fillClosed(path, tokens, nil); err != nil {
		t.Fatal(err)
	}
	store, err := bolt.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer store.Close()
	l, err := newLots(w, store, size)
	if err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if err := l.issue(t.Context()); err != nil || store.Stats().Tokens != tokens+size {
			t.Fatalf("%d tokens, %v", store.Stats().Tokens, err)
		}
		if err := l.sweep(t.Context()); err != nil || store.Stats().Tokens != tokens {
			t.Fatalf("%d tokens after a sweep, %v", store.Stats().Tokens, err)
		}
	}
	if err := l.issue(t.Context()); err != nil {
		t.Fatal(err)
	}
	l.size++
	if err := l.sweep(t.Context()); err == nil {
		t.Errorf("a sweep of %d was one of %d", size, l.size)
	}
}
