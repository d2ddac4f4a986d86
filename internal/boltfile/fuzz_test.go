package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"go.etcd.io/bbolt"
)

// patched returns the file with some of its bytes replaced, and both meta pages with the
// checksum that they must have.
func patched(file []byte, at uint32, bytesThere []byte, at2 uint32, value uint64) []byte {
	file = bytes.Clone(file)
	copy(file[int(at)%len(file):], bytesThere)
	if at2 != 0 {
		binary.NativeEndian.PutUint64(file[int(at2)%(len(file)-8):], value)
	}
	mend(content(file, 4096, 0))
	mend(content(file, 4096, 1))
	return file
}

func seeds(f *testing.F) []byte {
	file := flipFixture(f, bbolt.Options{})
	m := metasOf(f, file).Newest
	for _, id := range []uint64{m.Root, m.Freelist, 4, 5, 6, 7} {
		at := uint32(id * m.PageSize)
		f.Add(at, []byte{1, 2, 3}, at+8, uint64(0x0001_0002_0003_0004))
		f.Add(at+pageOverflow, []byte{0xff, 0xff, 0xff, 0xff}, at+24, uint64(1<<40))
	}
	for page := range uint32(2) {
		for _, at := range []uint32{atPageSize, atRoot, atFreelist, atPages, atTx} {
			f.Add(page*4096+pageHeader+at, []byte{0xff, 0, 0, 0, 0, 0, 0, 0x80}, uint32(0), uint64(0))
		}
	}
	return file
}

// FuzzWalk: whatever the bytes are, Walk ends without a panic, with ErrDamaged or not.
func FuzzWalk(f *testing.F) {
	file := seeds(f)
	f.Add(uint32(0), []byte(nil), uint32(0), uint64(0))
	f.Fuzz(func(t *testing.T, at uint32, there []byte, at2 uint32, value uint64) {
		if _, err := walkedBytes(patched(file, at, there, at2, value)); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
		if _, err := walkedBytes(there); err != nil && !errors.Is(err, ErrDamaged) {
			t.Error(err)
		}
	})
}

// FuzzGet: whatever the bytes are, Get ends without a panic, and where Walk finds
// nothing wrong, it returns what Walk has told.
func FuzzGet(f *testing.F) {
	file := seeds(f)
	f.Add(uint32(0), []byte(nil), uint32(0), uint64(0))
	f.Fuzz(func(t *testing.T, at uint32, there []byte, at2 uint32, value uint64) {
		bad := patched(file, at, there, at2, value)
		m, err := ReadMetas(bytes.NewReader(bad), int64(len(bad)))
		if err != nil {
			return
		}
		want, walkErr := walkedBytes(bad)
		for n := 0; n < 150; n += 10 {
			got, err := Get(bytes.NewReader(bad), m.Newest, told, key(n))
			if err != nil && !errors.Is(err, ErrDamaged) && err != ErrNoBucket {
				t.Error(err)
			}
			if walkErr == nil && (got != nil || err == nil) {
				checkTold(t, want, key(n), got)
			}
		}
		if _, err := Sequence(bytes.NewReader(bad), m.Newest, told); err != nil && !errors.Is(err, ErrDamaged) && err != ErrNoBucket {
			t.Error(err)
		}
	})
}

// checkTold compares what Get returned with what Walk told of the key.
func checkTold(t *testing.T, pairs []pair, key string, got []byte) {
	t.Helper()
	for _, p := range pairs {
		if p.key == key {
			if got == nil || p.value != string(got) {
				t.Errorf("Get returns %x of %s; want %x", got, key, p.value)
			}
			return
		}
	}
	if got != nil {
		t.Errorf("Get returns %x of %s, which Walk has not told", got, key)
	}
}
