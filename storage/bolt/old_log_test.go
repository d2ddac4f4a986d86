package bolt

import (
	"errors"
	"os"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/recovery"
)

// TestOldFileBesideALog: a file of before, put back over a newer store that had a log, is not its
// log's. Repair brings it over and puts the log aside.
func TestOldFileBesideALog(t *testing.T) {
	path, want := oldFile(t)
	copyFile(t, logPath(crashedOnce(t, 1)), logPath(path))
	before := readFile(t, path)
	if _, err := Open(path, nil); !errors.Is(err, recovery.ErrLogForeign) {
		t.Fatalf("Open: %v; want recovery.ErrLogForeign", err)
	}
	if string(readFile(t, path)) != string(before) {
		t.Error("the file that was refused has changed")
	}
	s := open(t, path, &Options{Repair: true})
	for n := range directGroups + 1 { // with which the store makes a log of its own
		put(t, s, record(1000+n))
	}
	if got := s.Stats().Tokens; got != len(want)+directGroups+1 {
		t.Errorf("%d records; want those of the file, %d, and %d", got, len(want), directGroups+1)
	}
	if _, err := os.Stat(logPath(path) + ".damaged-1"); err != nil {
		t.Errorf("the log that was beside it: %v", err)
	}
}
