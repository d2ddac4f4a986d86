package bolt

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/log"
)

// TestRestoreWhileAnotherOpens: a program that tries to open the store, and cannot, removes what
// a crash has left, and not what Restore is at work on: neither the file nor the log.
func TestRestoreWhileAnotherOpens(t *testing.T) {
	if !localfile.LocksEarly {
		t.Skip("no locks")
	}
	from := crashedOnce(t, 2)
	path, _ := makeFileIn(t, quickDir(t), 1)
	read, err := localfile.OpenLocked(from, true, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	defer read.Close()
	file, copied, err := copyStore(read, from, path)
	if err != nil {
		t.Fatal(err)
	}
	defer copied.Close()
	localfile.RemoveStale(path)
	if err := adopt(file, log.NewID(), nil); err != nil {
		t.Fatal(err)
	}
	if got := open(t, file.Name(), nil).Stats().Tokens; got != 5 {
		t.Errorf("%d records; want 5", got)
	}
}
