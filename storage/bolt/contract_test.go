package bolt_test

import (
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// modes are the ways in which groups reach the disk.
var modes = map[string]func() *bolt.Options{
	"default": func() *bolt.Options { return nil },
	"no log":  func() *bolt.Options { return &bolt.Options{NoLog: true} },
	"log":     func() *bolt.Options { o := new(bolt.Options); bolt.LogAtOnce(o); return o },
	"at once": func() *bolt.Options { return &bolt.Options{FlushEvery: bolt.FlushAtOnce} },
}

// backend opens stores in folders of their own and finds them again by the path that it
// remembers.
func backend(options func() *bolt.Options) storagetest.Backend {
	paths := make(map[storage.Store]string)
	open := func(tb testing.TB, path string) storage.Store {
		tb.Helper()
		s, err := bolt.Open(path, options())
		if err != nil {
			tb.Fatalf("Open: %v", err)
		}
		tb.Cleanup(func() { s.Close() })
		paths[s] = path
		return s
	}
	return storagetest.Backend{
		Open: func(tb testing.TB) storage.Store {
			return open(tb, filepath.Join(tb.TempDir(), "tokens.db"))
		},
		Reopen: func(tb testing.TB, s storage.Store) storage.Store {
			if err := s.Close(); err != nil {
				tb.Fatalf("Close: %v", err)
			}
			return open(tb, paths[s])
		},
	}
}

// TestContract: a store keeps the contract, however groups reach the disk. Without -whole the modes
// are "default" and "no log".
func TestContract(t *testing.T) {
	for name, options := range modes {
		if !sample.Whole() && name != "default" && name != "no log" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			storagetest.Run(t, backend(options))
		})
	}
}

func BenchmarkStore(b *testing.B) { storagetest.Bench(b, backend(modes["default"])) }
