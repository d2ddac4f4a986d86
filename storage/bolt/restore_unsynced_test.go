package bolt

import (
	"errors"
	"io/fs"
	"os"
	"testing"
)

// TestNameIsDurableBeforeTheOldLogGoes: a process that was killed in Restore may have given the
// new file its name and not made that durable. The next Open does, before it removes the log of
// the old file: a crash may bring that file back, which needs its log.
func TestNameIsDurableBeforeTheOldLogGoes(t *testing.T) {
	from, _ := makeFileIn(t, quickDir(t), 2)
	path := crashedOnce(t, 3)
	if err := Restore(from, path); err != nil {
		t.Fatal(err)
	}
	s := open(t, path, &lazy)
	if _, err := os.Stat(logPath(path)); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("the old log: %v; want it removed", err)
	}
	if !s.tree.State.Named {
		t.Error("the old log is removed, and the name of the new file is still to be synced")
	}
}
