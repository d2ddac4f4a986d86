package boltfile

import (
	"bytes"
	"encoding/binary"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"go.etcd.io/bbolt"
)

const told = "tokens" // the bucket whose pairs the tests read

type step func(tx *bbolt.Tx) error

// build returns the file that bbolt makes of the steps, one transaction each.
func build(tb testing.TB, o bbolt.Options, steps ...step) []byte {
	tb.Helper()
	return commit(tb, nil, o, steps...)
}

// commit returns what bbolt makes of the file and the steps.
func commit(tb testing.TB, file []byte, o bbolt.Options, steps ...step) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "file.db")
	if file != nil {
		write(tb, path, file)
	}
	o.NoSync = true
	if o.PageSize == 0 {
		o.PageSize = 4096
	}
	db, err := bbolt.Open(path, 0o600, &o)
	if err != nil {
		tb.Fatal(err)
	}
	for _, step := range steps {
		if err := db.Update(step); err != nil {
			tb.Fatal(err)
		}
	}
	if err := db.Close(); err != nil {
		tb.Fatal(err)
	}
	return read(tb, path)
}

func read(tb testing.TB, path string) []byte {
	tb.Helper()
	file, err := os.ReadFile(path)
	if err != nil {
		tb.Fatal(err)
	}
	return file
}

func write(tb testing.TB, path string, file []byte) {
	tb.Helper()
	if err := os.WriteFile(path, file, 0o600); err != nil {
		tb.Fatal(err)
	}
}

// copied returns what Tx.WriteTo makes of a file.
func copied(tb testing.TB, file []byte) []byte {
	tb.Helper()
	var to bytes.Buffer
	inBbolt(tb, file, func(tx *bbolt.Tx) error {
		_, err := tx.WriteTo(&to)
		return err
	})
	return to.Bytes()
}

// inBbolt has bbolt open a copy of the file.
func inBbolt(tb testing.TB, file []byte, view step) {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "file.db")
	write(tb, path, file)
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		tb.Fatal(err)
	}
	defer db.Close()
	if err := db.View(view); err != nil {
		tb.Fatal(err)
	}
}

func key(n int) string { return fmt.Sprintf("key-%09d", n) }

// fill puts the keys from and on, each with a value of that many bytes.
func fill(bucket string, from, to, size int) step {
	return func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(bucket))
		for n := from; n < to && err == nil; n++ {
			err = b.Put([]byte(key(n)), bytes.Repeat([]byte{byte(n)}, size))
		}
		return err
	}
}

// remove deletes every n-th of the keys from and on.
func remove(bucket string, from, to, every int) step {
	return func(tx *bbolt.Tx) error {
		for n := from; n < to; n += every {
			if err := tx.Bucket([]byte(bucket)).Delete([]byte(key(n))); err != nil {
				return err
			}
		}
		return nil
	}
}

// nest makes a bucket inside another, with some keys and a sequence.
func nest(outer, inner string, keys int) step {
	return func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(outer))
		if err != nil {
			return err
		}
		if b, err = b.CreateBucketIfNotExists([]byte(inner)); err != nil {
			return err
		}
		for n := range keys {
			if err := b.Put([]byte(key(n)), []byte("not to be told")); err != nil {
				return err
			}
		}
		return b.SetSequence(uint64(keys))
	}
}

// overflowing puts values at and beside the ends of pages.
func overflowing(pageSize int) step {
	return func(tx *bbolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists([]byte(told))
		for i, size := range []int{0, pageSize - 1, pageSize, pageSize + 1, 5*pageSize - pageHeader - elementLen - 2, 40 * pageSize} {
			if err == nil {
				err = b.Put([]byte{'v', byte(i)}, bytes.Repeat([]byte{'v'}, size))
			}
		}
		return err
	}
}

func sequence(bucket string, n uint64) step {
	return func(tx *bbolt.Tx) error { return tx.Bucket([]byte(bucket)).SetSequence(n) }
}

// everything is a file with all that the format has.
func everything(tb testing.TB, o bbolt.Options) []byte {
	tb.Helper()
	size := max(o.PageSize, 4096)
	return build(tb, o,
		fill(told, 0, 400, 40), nest(told, "inside", 300), nest("tok", "ens", 5), nest("small", "smaller", 0),
		fill("inline", 0, 3, 5), fill("empty", 0, 0, 0), overflowing(size), remove(told, 100, 300, 2),
		sequence(told, 77), remove(told, 0, 50, 1), fill(told, 500, 520, size/3))
}

type pair struct{ key, value string }

// bboltPairs returns what bbolt finds in the told bucket.
func bboltPairs(tb testing.TB, file []byte) (found []pair) {
	tb.Helper()
	inBbolt(tb, file, func(tx *bbolt.Tx) error {
		if tx.Bucket([]byte(told)) == nil {
			return nil
		}
		return tx.Bucket([]byte(told)).ForEach(func(k, v []byte) error {
			if v != nil {
				found = append(found, pair{string(k), string(v)})
			}
			return nil
		})
	})
	return found
}

// walked returns what Walk tells of the file, if both meta pages are sound.
func walked(f io.ReaderAt, size int64) (found []pair, err error) {
	m, err := ReadMetas(f, size)
	if err != nil || m.Lost != nil {
		return nil, cmpOr(err, m.Lost)
	}
	err = Walk(f, m.Newest, Visitor{Bucket: told, Pair: func(k, v []byte) error {
		found = append(found, pair{string(k), string(v)})
		return nil
	}})
	return found, err
}

func cmpOr(first, second error) error {
	if first != nil {
		return first
	}
	return second
}

func walkedBytes(file []byte) ([]pair, error) { return walked(bytes.NewReader(file), int64(len(file))) }

// metasOf returns the meta pages of a sound file.
func metasOf(tb testing.TB, file []byte) Metas {
	tb.Helper()
	m, err := ReadMetas(bytes.NewReader(file), int64(len(file)))
	if err != nil || m.Lost != nil {
		tb.Fatal(err, m.Lost)
	}
	return m
}

// Where the numbers of a meta page are.
const (
	atMagic, atVersion, atPageSize, atRoot, atFreelist, atPages, atTx, atChecksum = 0, 4, 8, 16, 32, 40, 48, 56
)

func content(file []byte, pageSize, page int) []byte {
	return file[page*pageSize+pageHeader:][:metaLen]
}

// setMeta changes a number of a meta page and mends the checksum.
func setMeta(file []byte, pageSize, page, at int, value uint64) {
	b := content(file, pageSize, page)
	if at < atRoot {
		binary.NativeEndian.PutUint32(b[at:], uint32(value))
	} else {
		binary.NativeEndian.PutUint64(b[at:], value)
	}
	mend(b)
}

func getTx(file []byte, page int) uint64 {
	return binary.NativeEndian.Uint64(content(file, 4096, page)[atTx:])
}

// mend gives the content of a meta page the checksum that it must have.
func mend(b []byte) {
	sum := uint64(14695981039346656037)
	for _, c := range b[:atChecksum] {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	binary.NativeEndian.PutUint64(b[atChecksum:], sum)
}

var drawn = flag.Uint64("seed", 1, "what the tests draw from; 0: another seed in each run")

// draw returns a source of chance, and logs its seed.
func draw(t *testing.T) *rand.Rand {
	seed := *drawn
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}

func samePairs(got, want []pair) bool { return slices.Equal(got, want) }

func says(err error, text string) bool { return err != nil && strings.Contains(err.Error(), text) }
