package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"syscall"
	"testing"

	"go.etcd.io/bbolt"
)

// faulty is a file whose n-th read, and every one after it, fails.
type faulty struct {
	*bytes.Reader
	good  int // reads before the first that fails
	fails error
	reads int
}

func (f *faulty) ReadAt(b []byte, off int64) (int, error) {
	if f.reads++; f.reads > f.good {
		return 0, f.fails
	}
	n, err := f.Reader.ReadAt(b, off)
	if off+int64(n) == f.Size() {
		err = io.EOF // which may come with the last byte
	}
	return n, err
}

// readings are all that reads a file.
func readings() map[string]func(f io.ReaderAt, size int64) error {
	newest := func(f io.ReaderAt, size int64) (Meta, error) {
		m, err := ReadMetas(f, size)
		return m.Newest, cmpOr(err, m.Lost)
	}
	return map[string]func(f io.ReaderAt, size int64) error{
		"Walk":     func(f io.ReaderAt, size int64) error { _, err := walked(f, size); return err },
		"ReadHead": func(f io.ReaderAt, size int64) error { _, err := ReadHead(f, 4096); return err },
		"Get": func(f io.ReaderAt, size int64) error {
			m, err := newest(f, size)
			if err == nil {
				_, err = Get(f, m, told, key(50))
			}
			return err
		},
		"Sequence": func(f io.ReaderAt, size int64) error {
			m, err := newest(f, size)
			if err == nil {
				_, err = Sequence(f, m, told)
			}
			return err
		},
	}
}

// search has a reading fail at every read in turn, and returns what is wrong with its
// error: that must be the error of the file, and damage exactly if the file ended.
func search(file []byte, fails error, reading func(f io.ReaderAt, size int64) error) (tried int, wrong error) {
	damage := fails == io.EOF || fails == io.ErrUnexpectedEOF
	for good := 0; ; good++ {
		f := &faulty{Reader: bytes.NewReader(file), good: good, fails: fails}
		err := reading(f, int64(len(file)))
		switch {
		case f.reads <= good:
			return good, err
		case damage != errors.Is(err, ErrDamaged), damage == errors.Is(err, fails), !damage && err != fails:
			return good, fmt.Errorf("read %d fails with %q, and it returns %v", good+1, fails, err)
		}
	}
}

// TestReadErrors: an error of reading comes back as it is, wherever; an end of the file
// is damage.
func TestReadErrors(t *testing.T) {
	t.Parallel()
	file := build(t, bbolt.Options{}, nest("outer", "inner", 100), fill(told, 0, 300, 60), fill(told, 50, 51, 9000))
	for name, reading := range readings() {
		for _, fails := range []error{syscall.EIO, syscall.ESTALE, errors.New("some error"), io.EOF, io.ErrUnexpectedEOF} {
			tried, wrong := search(file, fails, reading)
			if wrong != nil || tried < 2 {
				t.Errorf("%s, %v: %d reads, %v", name, fails, tried, wrong)
			}
		}
	}
}

// TestReadErrorsAreCaught: the search finds a planted reading that mistakes them.
func TestReadErrorsAreCaught(t *testing.T) {
	file := build(t, bbolt.Options{}, fill(told, 0, 300, 60))
	for name, plant := range map[string]func(err error) error{
		"called damage": func(err error) error { return fmt.Errorf("%w: %w", ErrDamaged, err) },
		"replaced":      func(err error) error { return errors.New(err.Error()) },
		"swallowed":     func(error) error { return nil },
	} {
		_, wrong := search(file, syscall.EIO, func(f io.ReaderAt, size int64) error {
			_, err := walked(f, size)
			if err != nil {
				err = plant(err)
			}
			return err
		})
		if wrong == nil {
			t.Errorf("%s: not caught", name)
		}
	}
}

// TestReadAheadIsNoReason: a page that nothing leads to may be unreadable.
func TestReadAheadIsNoReason(t *testing.T) {
	file := build(t, bbolt.Options{}, fill(told, 0, 2000, 4000), remove(told, 0, 1999, 1), sequence(told, 1), sequence(told, 2))
	a := dissect(t, file)
	if a.meta.Pages*a.meta.PageSize < 4<<20 {
		t.Fatalf("%d pages are too few", a.meta.Pages)
	}
	bad := int64(binary.NativeEndian.Uint64(number(a.free(), 100)) * a.meta.PageSize)
	got, err := walked(unreadable{bytes.NewReader(file), bad}, int64(len(file)))
	if err != nil || len(got) != 1 {
		t.Errorf("a free page is unreadable: %d pairs, %v", len(got), err)
	}
	bad = int64(a.meta.Root * a.meta.PageSize)
	if _, err := walked(unreadable{bytes.NewReader(file), bad}, int64(len(file))); err != syscall.EIO {
		t.Errorf("the root is unreadable: %v", err)
	}
}

// unreadable is a file with a byte that cannot be read.
type unreadable struct {
	io.ReaderAt
	bad int64
}

func (u unreadable) ReadAt(b []byte, off int64) (int, error) {
	if off <= u.bad && u.bad < off+int64(len(b)) {
		return 0, syscall.EIO
	}
	return u.ReaderAt.ReadAt(b, off)
}
