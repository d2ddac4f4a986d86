package log

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"testing"
)

func look(path string, info os.FileInfo) (same bool, size int64, err error) {
	at, err := os.Stat(path)
	if err != nil {
		return false, 0, err
	}
	return os.SameFile(at, info), at.Size(), nil
}

func TestFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "log")
	if _, err := Open(path, false); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("Open without a file: %v", err)
	}
	parent := Parent{NewID(), 77}
	l := must[*Log](t)(Create(path, parent, nil))
	if _, err := Create(path, parent, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("Create over a file: %v", err)
	}
	must[uint64](t)(l.Append([]byte("one"), noLimit))
	if info := must[os.FileInfo](t)(os.Stat(path)); info.Size() != l.Size() || l.Size() != block+defaultSlot {
		t.Errorf("Size is %d, the file has %d", l.Size(), info.Size())
	}
	before := must[[]byte](t)(os.ReadFile(path))
	for _, readOnly := range []bool{true, false} {
		again := must[*Log](t)(Open(path, readOnly))
		var got []byte
		must[uint64](t)(again.Replay(0, func(_ uint64, p []byte) error { got = append(got, p...); return nil }))
		if again.ID() != l.ID() || again.Parent() != parent || string(got) != "one" {
			t.Errorf("ID %x, parent %v, %q", again.ID(), again.Parent(), got)
		}
		if readOnly {
			if err := again.Remove(); !errors.Is(err, fs.ErrPermission) {
				t.Errorf("Remove of a log that is read only: %v", err)
			}
			if !bytes.Equal(before, must[[]byte](t)(os.ReadFile(path))) {
				t.Error("it was written to")
			}
		}
		again.Close()
	}
	for range 2 {
		if err := l.Remove(); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after Remove: %v", err)
	}
}

func TestMode(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("Windows has no such modes")
	}
	dir := t.TempDir()
	main := filepath.Join(dir, "main")
	if err := os.WriteFile(main, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o600, 0o640, 0o660, 0o400} {
		if err := os.Chmod(main, mode); err != nil {
			t.Fatal(err)
		}
		l := must[*Log](t)(Create(filepath.Join(dir, "log"), Parent{}, must[os.FileInfo](t)(os.Stat(main))))
		if got := must[os.FileInfo](t)(os.Stat(l.path)).Mode(); got != mode {
			t.Errorf("mode %v, want %v", got, mode)
		}
		l.Remove()
	}
}

// owned is a file of another owner.
type owned struct{ os.FileInfo }

func (owned) Sys() any { return foreignOwner() }

// The owner is kept, or no log is made.
func TestOwner(t *testing.T) {
	if foreignOwner() == nil {
		t.Skip("files have no such owner here")
	}
	dir := t.TempDir()
	path := filepath.Join(dir, "log")
	like := owned{must[os.FileInfo](t)(os.Stat(dir))}
	_, err := Create(path, Parent{}, like)
	info, missing := os.Stat(path)
	switch {
	case err == nil:
		if !ownedByForeigner(info) {
			t.Errorf("owner: %+v", info.Sys())
		}
	case !errors.Is(err, fs.ErrPermission), !errors.Is(missing, fs.ErrNotExist):
		t.Errorf("%v; the file: %v", err, missing)
	}
}

func TestCheck(t *testing.T) {
	other := errors.New("the network is down")
	for _, c := range []struct {
		name string
		do   func(path string) error
		look func(string, os.FileInfo) (bool, int64, error)
		want error
	}{
		{"untouched", func(string) error { return nil }, look, nil},
		{"removed", os.Remove, look, ErrReplaced},
		{"moved", func(p string) error { return os.Rename(p, p+"2") }, look, ErrReplaced},
		{"replaced", func(p string) error {
			return errors.Join(os.Rename(p, p+"2"), os.WriteFile(p, make([]byte, 1<<20), 0o600))
		}, look, ErrReplaced},
		{"cut", func(p string) error { return os.Truncate(p, 5000) }, look, ErrReplaced},
		{"an error", func(string) error { return nil }, func(string, os.FileInfo) (bool, int64, error) { return false, 0, other }, other},
	} {
		t.Run(c.name, func(t *testing.T) {
			if runtime.GOOS == "windows" {
				t.Skip("Windows does not move what is open")
			}
			l := must[*Log](t)(Create(filepath.Join(t.TempDir(), "log"), Parent{}, nil))
			defer l.Close()
			if err := c.do(l.path); err != nil {
				t.Fatal(err)
			}
			if err := l.Check(c.look); !errors.Is(err, c.want) {
				t.Errorf("Check: %v", err)
			}
			if c.name == "replaced" {
				if err := l.Remove(); !errors.Is(err, ErrReplaced) {
					t.Errorf("Remove: %v", err)
				}
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	l := must[*Log](t)(start(&memory{}, Parent{}, defaultSlot))
	first := func(change func(*head)) []byte {
		h := l.head
		change(&h)
		return append(must[[]byte](t)(h.block()), make([]byte, defaultSlot)...)
	}
	whole := first(func(*head) {})
	for _, c := range []struct {
		name string
		data []byte
		want error
	}{
		{"empty", nil, ErrUnfinished},
		{"zero", make([]byte, len(whole)), ErrUnfinished},
		{"a part that is zero", make([]byte, 3000), ErrUnfinished},
		{"longer and zero", make([]byte, len(whole)+1), ErrDamaged},
		{"the first sector", whole[:sector], ErrUnfinished},
		{"half a slot", whole[:len(whole)/2], ErrUnfinished},
		{"half a slot that was begun", append(whole[:8192:8192], 1), ErrDamaged},
		{"half a sector", whole[:sector/2], ErrDamaged},
		{"a text", []byte("this is no log"), ErrDamaged},
		{"a long text", bytes.Repeat([]byte("this is no log\n"), 1000), ErrDamaged},
		{"a newer version", first(func(h *head) { h.Version = version + 1 }), ErrNewer},
		{"a slot of no bytes", first(func(h *head) { h.Slot = 0 }), ErrDamaged},
		{"a slot of odd bytes", first(func(h *head) { h.Slot++ }), ErrDamaged},
		{"a slot of 4 GB", first(func(h *head) { h.Slot = 1<<32 - block }), ErrDamaged},
	} {
		t.Run(c.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "log")
			if err := os.WriteFile(path, c.data, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, readOnly := range []bool{true, false} {
				if _, err := Open(path, readOnly); !errors.Is(err, c.want) {
					t.Errorf("Open: %v", err)
				}
			}
			if got := must[[]byte](t)(os.ReadFile(path)); !bytes.Equal(got, c.data) {
				t.Error("it was changed")
			}
		})
	}
	if _, err := Open(t.TempDir(), true); !errors.Is(err, ErrDamaged) {
		t.Errorf("Open of a directory: %v", err)
	}
}

// A log that cannot be made leaves nothing.
func TestCreateFails(t *testing.T) {
	path := filepath.Join(t.TempDir(), "none", "log")
	if _, err := Create(path, Parent{}, nil); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Create: %v", err)
	}
	d := &memory{fails: func(int) bool { return true }}
	d.r = newRand(1)
	if _, err := start(d, Parent{}, testSlot); !errors.Is(err, errDisk) {
		t.Errorf("start: %v", err)
	}
}
