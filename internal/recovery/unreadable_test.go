package recovery

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestUnreadable: a file that cannot be read is unavailable, not damaged, and Repair does not pass
// that.
func TestUnreadable(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	if err := ensure(path); err != nil {
		t.Fatal(err)
	}
	for _, repair := range []bool{false, true} {
		f, err := os.OpenFile(path, os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		rec := &Recovered{opts: Options{Repair: repair, MaxTokens: 100}, path: path, File: f}
		if err := fault.Classify(rec.read()); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrCorrupt) || rec.Repaired {
			t.Errorf("the file, repair %v: %v; want ErrUnavailable", repair, err)
		}
		f.Close()
	}
}
