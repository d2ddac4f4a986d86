package bolt

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestLogThatTurnsUp: the log that was missing when Repair opened the file is put back after
// something was written without it. Its groups do not follow on that: some would be left out, and
// others would undo an end that was acknowledged.
func TestLogThatTurnsUp(t *testing.T) {
	path, aside := crashedOnce(t, 3), filepath.Join(quickDir(t), "log")
	if err := os.Rename(logPath(path), aside); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, &Options{Repair: true})
	put(t, s, ended(record(1)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	copyFile(t, aside, logPath(path))
	if _, err := Open(path, nil); !errors.Is(err, storage.ErrCorrupt) || !errors.Is(err, recovery.ErrLogForeign) {
		t.Errorf("Open: %v; want recovery.ErrLogForeign", err)
	}
	records, _ := contents(t, open(t, path, &Options{Repair: true}))
	if r := records[record(1).ID]; len(records) != 3 || r.EndedAt.IsZero() {
		t.Errorf("%d records, of which 1 ended at %v; want 3, and an end", len(records), r.EndedAt)
	}
}
