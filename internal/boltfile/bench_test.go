package boltfile

import (
	"os"
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"
)

// BenchmarkWalk reads a file of 200,000 records from the memory of the system.
func BenchmarkWalk(b *testing.B) {
	path := filepath.Join(b.TempDir(), "file.db")
	write(b, path, build(b, bbolt.Options{}, fill(told, 0, 200_000, 100)))
	f, err := os.Open(path)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		b.Fatal(err)
	}
	b.SetBytes(info.Size())
	b.ReportAllocs()
	for b.Loop() {
		if got, err := walkedCount(f, info.Size()); err != nil || got != 200_000 {
			b.Fatal(got, err)
		}
	}
}

func walkedCount(f *os.File, size int64) (n int, err error) {
	m, err := ReadMetas(f, size)
	if err != nil {
		return 0, err
	}
	err = Walk(f, m.Newest, Visitor{Bucket: told, Pair: func(_, _ []byte) error { n++; return nil }})
	return n, err
}
