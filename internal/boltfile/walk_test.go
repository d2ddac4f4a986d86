package boltfile

import (
	"bytes"
	"errors"
	"fmt"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/sample"
)

// sound returns files of every form that bbolt writes.
func sound(tb testing.TB) map[string][]byte {
	tb.Helper()
	files := map[string][]byte{
		"new":             build(tb, bbolt.Options{}),
		"one commit":      build(tb, bbolt.Options{}, fill(told, 0, 3, 3)),
		"no such bucket":  build(tb, bbolt.Options{}, fill("other", 0, 300, 30)),
		"emptied":         build(tb, bbolt.Options{}, fill(told, 0, 900, 30), remove(told, 0, 900, 1)),
		"deep":            build(tb, bbolt.Options{PageSize: 1024}, fill(told, 0, 3000, 100), remove(told, 1000, 2000, 1), remove(told, 0, 900, 3)),
		"in small steps":  build(tb, bbolt.Options{}, smallSteps()...),
		"copied":          copied(tb, everything(tb, bbolt.Options{})),
		"compacted":       compacted(tb, everything(tb, bbolt.Options{}), 4096),
		"compacted to 1K": compacted(tb, everything(tb, bbolt.Options{}), 1024),
	}
	for _, size := range []int{1 << 10, 4 << 10, 16 << 10, 64 << 10} {
		for _, bare := range []bool{false, true} {
			name := fmt.Sprintf("everything, page size %d, without freelist %v", size, bare)
			files[name] = everything(tb, bbolt.Options{PageSize: size, NoFreelistSync: bare})
		}
	}
	return files
}

func smallSteps() (steps []step) {
	for n := range 60 {
		steps = append(steps, fill(told, 100*(n*7%60), 100*(n*7%60)+50, n*5), remove(told, 100*(n*7%60), 100*(n*7%60)+n, 3))
	}
	return steps
}

func compacted(tb testing.TB, file []byte, pageSize int) []byte {
	tb.Helper()
	path := filepath.Join(tb.TempDir(), "file.db")
	write(tb, path, file)
	src, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		tb.Fatal(err)
	}
	defer src.Close()
	to := filepath.Join(tb.TempDir(), "compacted.db")
	dst, err := bbolt.Open(to, 0o600, &bbolt.Options{PageSize: pageSize})
	if err != nil {
		tb.Fatal(err)
	}
	if err := errors.Join(bbolt.Compact(dst, src, 10_000), dst.Close()); err != nil {
		tb.Fatal(err)
	}
	return read(tb, to)
}

// TestWalk tells of every sound file what bbolt has in the bucket, and no page twice.
func TestWalk(t *testing.T) {
	t.Parallel()
	for name, file := range sound(t) {
		m := metasOf(t, file).Newest
		last, total := 0, 0
		got, err := walkedBytes(file)
		if want := bboltPairs(t, file); err != nil || !samePairs(got, want) {
			t.Errorf("%s: %d pairs, %v; want %d", name, len(got), err, len(want))
		}
		err = Walk(bytes.NewReader(file), m, Visitor{Progress: func(done, all int) {
			if done <= last || done > all {
				t.Errorf("%s: %d of %d pages after %d", name, done, all, last)
			}
			last, total = done, all
		}})
		if err != nil || uint64(total) != m.Pages || m.HasFreelist() && last != total {
			t.Errorf("%s: progress ends with %d of %d, %v; want %d", name, last, total, err, m.Pages)
		}
	}
}

// TestWalkEnds: the visitor's own error ends the walk and comes back as it is.
func TestWalkEnds(t *testing.T) {
	file := everything(t, bbolt.Options{})
	mine, calls := errors.New("mine"), 0
	err := Walk(bytes.NewReader(file), metasOf(t, file).Newest, Visitor{Bucket: told, Pair: func(_, _ []byte) error {
		if calls++; calls == 3 {
			return mine
		}
		return nil
	}})
	if err != mine || calls != 3 {
		t.Errorf("%v after %d pairs", err, calls)
	}
}

// TestWalkDepth: buckets in buckets are read to the limit, and no deeper.
func TestWalkDepth(t *testing.T) {
	for _, row := range []struct {
		buckets int
		sound   bool
	}{{10, true}, {maxDepth - 2, true}, {maxDepth - 1, true}, {maxDepth, true}, {maxDepth + 1, false}, {500, false}} {
		file := build(t, bbolt.Options{}, func(tx *bbolt.Tx) error {
			b, err := tx.CreateBucket([]byte("b"))
			for n := 1; n < row.buckets && err == nil; n++ {
				b, err = b.CreateBucket([]byte("b"))
			}
			return err
		})
		if _, err := walkedBytes(file); (err == nil) != row.sound || err != nil && !errors.Is(err, ErrDamaged) {
			t.Errorf("%d buckets in each other: %v", row.buckets, err)
		}
	}
}

// TestWalkChurn: files that bbolt changes at random stay sound after every commit.
func TestWalkChurn(t *testing.T) {
	t.Parallel()
	r := draw(t)
	for _, bare := range []bool{false, true} {
		o := bbolt.Options{PageSize: 1024, NoFreelistSync: bare}
		var file []byte
		for round := range sample.Of(40, 12) {
			var steps []step
			for range 1 + r.IntN(4) {
				from := r.IntN(2000)
				bucket := []string{told, "other", "third"}[r.IntN(3)]
				steps = append(steps, fill(bucket, from, from+r.IntN(300), r.IntN(200)), remove(bucket, r.IntN(2000), 2300, 1+r.IntN(3)))
				if r.IntN(4) == 0 {
					steps = append(steps, nest(bucket, key(r.IntN(50)+5000), r.IntN(40)))
				}
			}
			file = commit(t, file, o, steps...)
			got, err := walkedBytes(file)
			if want := bboltPairs(t, file); err != nil || !samePairs(got, want) {
				t.Fatalf("round %d: %d pairs, %v; want %d", round, len(got), err, len(want))
			}
		}
	}
}
