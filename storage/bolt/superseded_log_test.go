package bolt

import (
	"errors"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/recovery"
)

// TestSupersededLogBesideItsSuccessor: the log that a Restore superseded is put back over the one
// that the restored store asks for, which is missing then.
func TestSupersededLogBesideItsSuccessor(t *testing.T) {
	path, aside := crashedOnce(t, 2), filepath.Join(quickDir(t), "log")
	copyFile(t, logPath(path), aside)
	from, _ := makeFileIn(t, quickDir(t), 3)
	if err := Restore(from, path); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, ended(record(0)))
	crashed := filepath.Join(quickDir(t), "tokens.db")
	copyFile(t, path, crashed)
	copyFile(t, aside, logPath(crashed))
	if _, err := Open(crashed, nil); !errors.Is(err, recovery.ErrLogForeign) {
		t.Errorf("Open: %v; want recovery.ErrLogForeign", err)
	}
}
