package localfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"
)

// TestLook: it says of whatever is at a path what os.Stat does.
func TestLook(t *testing.T) {
	dir := t.TempDir()
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, size := range map[string]int{"ours": 5000, "other": 5000, "empty": 0} {
		if err := os.WriteFile(path(name), make([]byte, size), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(path("ours"), path("link")), os.Symlink(path("nothing"), path("dangling"))); err != nil {
		t.Skip(err)
	}
	ours, err := os.Stat(path("ours"))
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		at   string
		same bool
		gone bool
	}{
		{"ours", true, false},
		{"link", true, false},
		{"other", false, false},
		{"empty", false, false},
		{".", false, false},
		{"dangling", false, true},
		{"nothing", false, true},
		{"ours/below", false, true},
	} {
		same, size, err := Look(path(row.at), ours)
		if same != row.same || (err != nil) != row.gone {
			t.Errorf("%s: same %v, %v", row.at, same, err)
		}
		info, statErr := os.Stat(path(row.at))
		switch {
		case err == nil && (statErr != nil || size != info.Size()):
			t.Errorf("%s: %d bytes; os.Stat: %+v, %v", row.at, size, info, statErr)
		case errors.Is(err, fs.ErrNotExist) != errors.Is(statErr, fs.ErrNotExist):
			t.Errorf("%s: %v; os.Stat: %v", row.at, err, statErr)
		}
	}
	if err := os.Truncate(path("ours"), 12); err != nil {
		t.Fatal(err)
	}
	if same, size, err := Look(path("ours"), ours); !same || size != 12 || err != nil {
		t.Errorf("cut: same %v, %d bytes, %v; want 12", same, size, err)
	}
	if os.Remove(path("ours")) == nil && os.Rename(path("other"), path("ours")) == nil {
		if same, _, err := Look(path("ours"), ours); same || err != nil {
			t.Errorf("replaced: same %v, %v", same, err)
		}
	}
}
