package bolt

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// suffering is an open store whose disk is about to fail.
type suffering struct {
	t    *testing.T
	s    *Store
	path string
	want map[storage.ID]storage.Record // what was acknowledged, but for what became unknown since
}

// suffer opens a new store in dir with a few records.
func suffer(t *testing.T, dir string) *suffering {
	t.Helper()
	f := &suffering{t: t, path: filepath.Join(dir, "tokens.db"), want: make(map[storage.ID]storage.Record)}
	f.open()
	for n := range 20 {
		f.works("issue", f.put(record(n)))
	}
	return f
}

func (f *suffering) open() {
	f.t.Helper()
	s, err := Open(f.path, nil)
	if err != nil {
		f.t.Fatal(err)
	}
	f.s = s
}

// put issues a record, or ends it.
func (f *suffering) put(r storage.Record) error {
	err := f.s.Update(context.Background(), r.Subject, func(tx storage.Tx) error { return tx.Put(r) })
	switch {
	case err == nil:
		f.want[r.ID] = r
	case errors.Is(err, storage.ErrOutcomeUnknown):
		delete(f.want, r.ID)
	}
	return err
}

// end ends the n-th record.
func (f *suffering) end(n int) error {
	r := f.want[record(n).ID]
	r.EndedAt, r.EndReason = r.IssuedAt, storage.EndRevoked
	return f.put(r)
}

// touch touches the n-th record. If that fails, nothing is known of it any more.
func (f *suffering) touch(n int) error {
	r := f.want[record(n).ID]
	use := storage.Use{At: r.IssuedAt.Add(time.Minute)}
	err := f.s.Touch(context.Background(), r.ID, use)
	if delete(f.want, r.ID); err == nil && use.Raise(&r) {
		f.want[r.ID] = r
	}
	return err
}

func (f *suffering) works(what string, err error) {
	f.t.Helper()
	if err != nil {
		f.t.Errorf("%s: %v; want it to work", what, err)
	}
}

// fails checks that err says what it means for the write, and why, with one of the
// causes.
func (f *suffering) fails(what string, err error, causes ...syscall.Errno) {
	f.t.Helper()
	if !errors.Is(err, storage.ErrUnavailable) && !errors.Is(err, storage.ErrOutcomeUnknown) {
		f.t.Errorf("%s: %v; want ErrUnavailable or ErrOutcomeUnknown", what, err)
		return
	}
	for _, cause := range causes {
		if errors.Is(err, cause) || strings.Contains(err.Error(), cause.Error()) { // bbolt wraps some as text
			return
		}
	}
	f.t.Errorf("%s: %v; want a cause out of %v", what, err, causes)
}

// mayFail checks the same if err is one.
func (f *suffering) mayFail(what string, err error, causes ...syscall.Errno) {
	f.t.Helper()
	if err != nil {
		f.fails(what, err, causes...)
	}
}

// failsSoon has large records issued until that fails.
func (f *suffering) failsSoon(causes ...syscall.Errno) {
	f.t.Helper()
	var err error
	for n := 0; err == nil && n < 10_000; n++ {
		err = f.put(large(n))
	}
	f.fails("issue", err, causes...)
}

// reads checks that everything acknowledged can be read.
func (f *suffering) reads(when string) {
	f.t.Helper()
	for id, want := range f.want {
		if got, err := f.s.Get(context.Background(), id); err != nil || !got.Equal(want) {
			f.t.Fatalf("%s: %+v, %v; want %+v", when, brief(got), err, brief(want))
		}
	}
}

// inTime runs fn and fails if it takes so long that it never ends.
func (f *suffering) inTime(what string, fn func() error) error {
	f.t.Helper()
	result := make(chan error, 1)
	go func() { result <- fn() }()
	select {
	case err := <-result:
		return err
	case <-time.After(6 * patience):
		f.t.Fatalf("%s hangs", what)
		return nil
	}
}

// fillUp takes all the room that there is in dir, and returns what gives it back.
func fillUp(t *testing.T, dir string) (empty func()) {
	t.Helper()
	ballast, err := os.Create(filepath.Join(dir, "ballast"))
	if err != nil {
		t.Fatal(err)
	}
	defer ballast.Close()
	for _, size := range []int{1 << 20, 4096, 1} {
		for chunk := bytes.Repeat([]byte{1}, size); err == nil; {
			_, err = ballast.Write(chunk)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Fatal(err)
		}
		err = nil
	}
	ballast.Sync()
	return func() {
		if err := errors.Join(os.Truncate(ballast.Name(), 0), os.Remove(ballast.Name())); err != nil {
			t.Fatal(err)
		}
	}
}

// sweepAll sweeps where nothing is to be swept.
func sweepAll(s *Store) error {
	_, err := s.Sweep(context.Background(), epoch, 10)
	return err
}

// eachDisk runs a test on a disk in memory and on ext4.
func eachDisk(t *testing.T, test func(t *testing.T, dir string)) {
	t.Run("tmpfs", func(t *testing.T) { test(t, memoryDisk(t, "4m")) })
	t.Run("ext4", func(t *testing.T) { test(t, newDisk(t, memoryDisk(t, "40m"), 16<<20, "").dir) })
}
