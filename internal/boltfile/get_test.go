package boltfile

import (
	"bytes"
	"errors"
	"slices"
	"testing"

	"go.etcd.io/bbolt"
)

// TestGet returns of every key of every top-level bucket, of keys beside them, and of
// buckets that are not there what bbolt does.
func TestGet(t *testing.T) {
	t.Parallel()
	for name, file := range sound(t) {
		f, m := bytes.NewReader(file), metasOf(t, file).Newest
		inBbolt(t, file, func(tx *bbolt.Tx) error {
			return tx.ForEach(func(bucket []byte, b *bbolt.Bucket) error {
				if got, err := Sequence(f, m, string(bucket)); err != nil || got != b.Sequence() {
					t.Errorf("%s: sequence of %s is %d, %v; want %d", name, bucket, got, err, b.Sequence())
				}
				keys := []string{"", "\x00", "key", "zzzz", "\xff\xff"}
				b.ForEach(func(k, _ []byte) error {
					keys = append(keys, string(k))
					if len(keys)%16 == 0 {
						keys = append(keys, string(k[:len(k)-1]), string(k)+"\x00")
					}
					return nil
				})
				for _, key := range keys {
					got, err := Get(f, m, string(bucket), key)
					want := b.Get([]byte(key))
					if err != nil || !bytes.Equal(got, want) || (got == nil) != (want == nil) {
						t.Fatalf("%s: %s of %s is %.20x, %v; want %.20x", name, key, bucket, got, err, want)
					}
				}
				return nil
			})
		})
		for _, bucket := range []string{"", "\x00", "nothing", "\xff"} {
			if got, err := Get(f, m, bucket, key(0)); err != ErrNoBucket || got != nil {
				t.Errorf("%s: of no bucket: %x, %v", name, got, err)
			}
			if _, err := Sequence(f, m, bucket); err != ErrNoBucket || errors.Is(err, ErrDamaged) {
				t.Errorf("%s: sequence of no bucket: %v", name, err)
			}
		}
	}
}

// TestGetCopies: the value is the caller's.
func TestGetCopies(t *testing.T) {
	file := build(t, bbolt.Options{}, fill(told, 0, 3, 5))
	m := metasOf(t, file).Newest
	value, err := Get(bytes.NewReader(file), m, told, key(1))
	clear(value)
	again, err2 := Get(bytes.NewReader(file), m, told, key(1))
	if err != nil || err2 != nil || !slices.Equal(again, []byte{1, 1, 1, 1, 1}) {
		t.Errorf("%x, %v, %v", again, err, err2)
	}
}

// TestGetReadsTheWay: damage beside the way to the key does not matter, and damage on it
// does.
func TestGetReadsTheWay(t *testing.T) {
	a := dissect(t, build(t, bbolt.Options{}, fill(told, 0, 600, 40)))
	els := a.elements(a.branch())
	clear(a.page(els[2].child))
	for _, row := range []struct {
		of   int
		want error
	}{{0, nil}, {1, nil}, {2, ErrDamaged}, {3, nil}} {
		value, err := Get(bytes.NewReader(a.file), a.meta, told, string(els[row.of].key))
		if !errors.Is(err, row.want) || row.want == nil && len(value) != 40 {
			t.Errorf("first key of leaf %d: %x, %v; want %v", row.of, value, err, row.want)
		}
	}
}
