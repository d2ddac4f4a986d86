package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/sample"
)

// flipping flips bits of a file and has read read it: each must be damage, or change
// nothing but bytes of keys and values, which have no checksum. Nothing but its page
// bounds the last value in a page: that may become longer or shorter.
type flipping struct {
	good []byte
	want []pair
	read func(file []byte) ([]pair, error)

	blind bool // the file has no list of free pages
}

// wrong says what is wrong with how the file with the flipped bit was read, nothing if
// nothing is. accepted is the file if it was accepted.
func (f *flipping) wrong(bit int) (accepted []byte, wrong error) {
	file := bytes.Clone(f.good)
	file[bit/8] ^= 1 << (bit % 8)
	got, err := f.read(file)
	got = slices.DeleteFunc(got, func(p pair) bool { return p.key == "inside" }) // a small bucket that reads as a value
	switch {
	case errors.Is(err, ErrDamaged), err == ErrNoBucket: // a bit of its name
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("bit %d: %w", bit, err)
	case len(got) != len(f.want) && f.blind: // a page is skipped or read that belongs to nothing, and no list of free pages says so
		return nil, nil
	case len(got) != len(f.want):
		return nil, fmt.Errorf("bit %d: %d pairs, want %d", bit, len(got), len(f.want))
	}
	changed := 0
	for i := range got {
		if got[i] == f.want[i] {
			continue
		}
		changed++
		got, want := got[i].key+got[i].value, f.want[i].key+f.want[i].value
		if len(got) != len(want) && !strings.HasPrefix(got, want) && !strings.HasPrefix(want, got) || changed > 1 {
			return nil, fmt.Errorf("bit %d: pair %d is %.80q, want %.80q", bit, i, got, want)
		}
	}
	return file, nil
}

// readAll reads the pairs of the bucket, which there must be.
func readAll(file []byte) ([]pair, error) {
	found, err := walkedBytes(file)
	if err == nil {
		m, _ := ReadMetas(bytes.NewReader(file), int64(len(file)))
		_, err = Sequence(bytes.NewReader(file), m.Newest, told)
	}
	return found, err
}

// structural returns the bits of the meta pages, of the headers and elements of all
// pages in use, and of the first bytes behind them.
func structural(t *testing.T, file []byte) (bits []int) {
	a, ends := dissect(t, file), make(map[uint64]int)
	for page := range 2 { // without their headers, which bbolt does not look at when it opens a file
		for bit := 8 * pageHeader; bit < 8*(pageHeader+metaLen); bit++ {
			bits = append(bits, page*int(a.meta.PageSize)*8+bit)
		}
	}
	free := map[uint64]bool{}
	if a.meta.HasFreelist() {
		for n := range count(a.free()) {
			free[binary.NativeEndian.Uint64(number(a.free(), n))] = true
		}
	}
	for id := uint64(2); id < a.meta.Pages; id++ {
		if p := a.page(id); !free[id] && binary.NativeEndian.Uint64(p) == id {
			ends[id] = pageHeader + count(p)*elementLen + 64
		}
	}
	for id, end := range ends {
		for bit := range 8 * end {
			bits = append(bits, int(id*a.meta.PageSize)*8+bit)
		}
	}
	slices.Sort(bits)
	return bits
}

func flipFixture(tb testing.TB, o bbolt.Options) []byte {
	tb.Helper()
	file := build(tb, o, nest("outer", "inner", 3), nest(told, "inside", 2), fill("inline", 0, 3, 4),
		fill(told, 0, 150, 60), fill(told, 0, 1, 9000), remove(told, 3, 60, 2))
	return file[:metasOf(tb, file).Newest.Pages*4096]
}

// TestFlips: what is accepted with a flipped bit, bbolt reads and writes, too.
func TestFlips(t *testing.T) {
	t.Parallel()
	r := draw(t)
	for _, o := range []bbolt.Options{{}, {NoFreelistSync: true}} {
		good := flipFixture(t, o)
		f := &flipping{good, bboltPairs(t, good), readAll, o.NoFreelistSync}
		accepted, tried := 0, 0
		bits, flips := structural(t, good), sample.Of(3000, 1000)
		for range flips {
			file, err := f.wrong(bits[r.IntN(len(bits))])
			if err != nil {
				t.Error(err)
			}
			if file == nil {
				continue
			}
			if accepted++; accepted%10 == 0 && tried < 40 {
				tried++
				if err := usable(t, file); err != nil {
					t.Errorf("bbolt says of a file that was accepted: %v", err)
				}
			}
		}
		if tried == 0 || accepted > flips/2 {
			t.Errorf("%d of %d accepted, %d tried: the flips are not what they should be", accepted, flips, tried)
		}
		t.Logf("%d accepted", accepted)
	}
}

// usable has bbolt check a file, read and change all of it.
func usable(t *testing.T, file []byte) (err error) {
	t.Helper()
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panics: %v", p)
		}
	}()
	path := filepath.Join(t.TempDir(), "file.db")
	write(t, path, file)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{NoSync: true})
	if err != nil {
		return err
	}
	defer db.Close()
	err = db.Update(func(tx *bbolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bbolt.Bucket) error {
			c := b.Cursor()
			for k, v := c.First(); k != nil; k, v = c.Next() {
				if v != nil && rand.IntN(2) == 0 {
					if err := c.Delete(); err != nil {
						return err
					}
				}
			}
			return b.Put([]byte("added"), []byte("value"))
		})
	})
	if err != nil {
		return err
	}
	return db.View(func(tx *bbolt.Tx) error {
		for err := range tx.Check() {
			return err
		}
		return nil
	})
}

// TestFlipsAreCaught: the search for wrong flips finds what is planted.
func TestFlipsAreCaught(t *testing.T) {
	good := flipFixture(t, bbolt.Options{})
	want := bboltPairs(t, good)
	for name, read := range map[string]func(file []byte) ([]pair, error){
		"damage is passed over": func(file []byte) ([]pair, error) {
			got, _ := walkedBytes(file)
			return got, nil
		},
		"damage is no ErrDamaged": func(file []byte) ([]pair, error) {
			got, err := walkedBytes(file)
			if err != nil {
				err = errors.New(err.Error())
			}
			return got, err
		},
		"the first page alone counts": func(file []byte) ([]pair, error) {
			var got []pair
			m, err := ReadMetas(bytes.NewReader(file), int64(len(file)))
			w := newWalker(bytes.NewReader(file), m.Newest, Visitor{Bucket: told, Pair: func(k, v []byte) error {
				got = append(got, pair{string(k), string(v)})
				return nil
			}})
			if err == nil && m.Lost == nil && w.tree(0, m.Newest.Root, nil, nil) != nil {
				return got, nil
			}
			return got, ErrDamaged
		},
	} {
		f := &flipping{good, want, read, false}
		bits, caught := structural(t, good), 0
		for n := 0; n < len(bits); n += 97 {
			if _, err := f.wrong(bits[n]); err != nil {
				caught++
			}
		}
		if caught == 0 {
			t.Errorf("%s: not caught", name)
		}
	}
}
