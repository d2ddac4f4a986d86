package bolt

import (
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/internal/tree"
)

// TestRestoreWhileAnotherOpens: a program that tries to open the store, and cannot, removes what
// a crash has left, and not what Restore is at work on.
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
	made, err := tree.Build(path, func(next *tree.Tree) error {
		localfile.RemoveStale(path)
		err := restoreFrom(next, read, from, log.NewID())
		localfile.RemoveStale(path)
		return errors.Join(err, replace(next, nil, path, false))
	})
	if err != nil {
		t.Fatal(err)
	}
	made.Release()
	if got := open(t, path, nil).Stats().Tokens; got != 5 {
		t.Errorf("%d records; want 5", got)
	}
}
