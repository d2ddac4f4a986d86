package bolt

import (
	"errors"
	"io"
	"os"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestBackupWithoutTheFile: bbolt has to open the file again, and could not so far. Backup is
// unavailable as long as that is so, and no longer. It used to call the file damaged.
func TestBackupWithoutTheFile(t *testing.T) {
	path, _ := makeFileIn(t, quickDir(t), 3)
	s := open(t, path, &Options{NoLog: true, FlushEvery: lazy.FlushEvery})
	s.tree.Turn.Take()
	s.tree.Suspect = errDisk
	s.tree.Turn.Give()
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	for name, call := range map[string]func() error{
		"Compact": func() error { return s.Compact(t.Context()) },
		"Backup":  func() error { return s.Backup(t.Context(), io.Discard) },
	} {
		if err := call(); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrCorrupt) {
			t.Errorf("%s: %v; want ErrUnavailable", name, err)
		}
	}
	if err := os.Rename(path+".away", path); err != nil {
		t.Fatal(err)
	}
	if err := s.Backup(t.Context(), io.Discard); err != nil {
		t.Errorf("Backup once the file is back: %v", err)
	}
}
