package tree

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestReadingWhereBboltIsBroken: bbolt holds its locks for ever after a panic. A copy that runs then
// ends with an error, and its End waits for no lock.
func TestReadingWhereBboltIsBroken(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("no file is cut that is mapped")
	}
	f, err := os.Create(filepath.Join(t.TempDir(), "tokens.db"))
	if err != nil {
		t.Fatal(err)
	}
	tree := New(f, f.Name())
	defer tree.Release()
	if err := tree.Initialise(); err != nil {
		t.Fatal(err)
	}
	r, err := tree.Read(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := tree.File.Truncate(0); err != nil {
		t.Fatal(err)
	}
	if _, err := tree.begin(false); !errors.Is(err, errPanicked) {
		t.Fatalf("begin: %v; want a panic", err)
	}
	if _, err := io.ReadAll(r); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("Read: %v; want ErrUnavailable", err)
	}
	r.End(nil)
}
