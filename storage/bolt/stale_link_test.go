package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// openings returns how often this process has the file at path open.
func openings(t *testing.T, path string) (n int) {
	t.Helper()
	fds, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, fd := range fds {
		if to, err := os.Readlink("/proc/self/fd/" + fd.Name()); err == nil && to == path {
			n++
		}
	}
	return n
}

type stalls struct{ arrived, release chan struct{} }

func (w stalls) Write(p []byte) (int, error) {
	w.arrived <- struct{}{}
	<-w.release
	return len(p), nil
}

// TestStaleBehindALink: what a crash in Compact left beside the file is removed, also
// where the store is opened by a link.
func TestStaleBehindALink(t *testing.T) {
	path, _ := makeFile(t, 1)
	link := filepath.Join(t.TempDir(), "link.db")
	if err := os.Symlink(path, link); err != nil {
		t.Skip(err)
	}
	stale := filepath.Join(filepath.Dir(path), strings.TrimSuffix(tempPattern(path), "*")+"123")
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
