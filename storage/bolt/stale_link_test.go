package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/localfile"
)

// TestStaleBehindALink: what a crash in Compact left beside the file is removed, also
// where the store is opened by a link.
func TestStaleBehindALink(t *testing.T) {
	path, _ := makeFile(t, 1)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	stale := filepath.Join(filepath.Dir(path), localfile.TempPrefix(path)+"123")
	if err := os.WriteFile(stale, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(link, &lazy)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if _, err := os.Stat(stale); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("it is still there: %v", err)
	}
}
