package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func TestLockedFile(t *testing.T) {
	t.Parallel()
	path, before := makeFile(t, 1)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	if _, err := Open(path, nil); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("second Open in this process: %v; want ErrLocked", err)
	}
	if took := time.Since(begin); took > 20*time.Second { // half a second, and what a busy machine adds
		t.Errorf("it took %v to say so", took)
	}
	if out := childSays(t, opener, path); out != "locked" {
		t.Errorf("second Open in another process: %s; want locked", out)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if out := childSays(t, opener, path); out != "opened" {
		t.Errorf("Open in another process after Close: %s; want opened", out)
	}
	if after, _ := os.ReadFile(path); !bytes.Equal(before, after) {
		t.Error("opening and closing changed the file")
	}
}

// TestOpenWaitsForTheLock: a file that was locked at first is looked at and opened
// once it is free.
func TestOpenWaitsForTheLock(t *testing.T) {
	path, good := makeFile(t, 50)
	for name, file := range map[string][]byte{"sound": good, "damaged": hollow(good)} {
		if err := os.WriteFile(path, good, 0o600); err != nil {
			t.Fatal(err)
		}
		first, err := Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, file, 0o600); err != nil { // behind its back
			t.Fatal(err)
		}
		opening := make(chan error, 1)
		go func() {
			s, err := Open(path, &Options{LockTimeout: time.Minute})
			if err == nil {
				err = s.Close()
			}
			opening <- err
		}()
		if err := first.Close(); err != nil {
			t.Fatal(err)
		}
		if err := <-opening; (err == nil) != (name == "sound") || err != nil && !errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// hollow returns the file with nothing behind its meta pages.
func hollow(file []byte) []byte {
	file = bytes.Clone(file)
	clear(file[2*os.Getpagesize():])
	return file
}

// TestCreateDoesNotReplace has many stores made at one path at once: one wins and
// the others find it locked, or open it after.
func TestCreateDoesNotReplace(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	gate, opened := make(chan struct{}), make(chan *Store, 16)
	for range cap(opened) {
		go func() {
			<-gate
			s, err := Open(path, &Options{LockTimeout: 10 * time.Millisecond})
			if err != nil && !errors.Is(err, storage.ErrLocked) {
				t.Errorf("Open: %v", err)
			}
			opened <- s
		}()
	}
	close(gate)
	var won *Store
	for range cap(opened) {
		if s := <-opened; s != nil {
			if won != nil {
				t.Error("two stores have the file open at once")
			}
			won = s
		}
	}
	if won == nil {
		t.Fatal("nobody got the file")
	}
	put(t, won, record(1))
	if err := won.Close(); err != nil {
		t.Fatal(err)
	}
	again, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	if _, err := again.Get(context.Background(), record(1).ID); err != nil {
		t.Errorf("what the winner wrote: %v", err)
	}
}
