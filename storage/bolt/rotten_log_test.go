package bolt

import (
	"encoding/binary"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestRepairOfARottenLog: a crash came within a checkpoint, after it had taken an end into the
// file, and the frame of the log with that end is rotten. Repair opens the file alone, as it says:
// the groups before that frame would undo the end.
func TestRepairOfARottenLog(t *testing.T) {
	path, _ := makeFileIn(t, quickDir(t), 3)
	s := open(t, path, &Options{logAtOnce: true, FlushEvery: lazy.FlushEvery})
	renamed := record(1)
	renamed.Name = "another"
	put(t, s, renamed, ended(record(1)), record(5))
	s.tree.Turn.Take()
	_, ids, _ := s.journal.takeDirty()
	err := s.writeSteps(ids)
	s.journal.endCheckpoint(ids, errDisk)
	s.tree.Turn.Give()
	if err != nil {
		t.Fatal(err)
	}
	crashed := filepath.Join(quickDir(t), "tokens.db")
	copyStoreFiles(t, path, crashed)
	const block = 4 << 10
	b := readFile(t, logPath(crashed))
	first := b[2*block:] // behind the log's first block and the slot's
	length := int(binary.BigEndian.Uint32(first))
	first[(length+8+499)/500*512+100] ^= 1 // in the second frame
	if err := os.WriteFile(logPath(crashed), b, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(crashed, nil); !errors.Is(err, storage.ErrCorrupt) {
		t.Fatalf("Open: %v; want ErrCorrupt", err)
	}
	records, _ := contents(t, open(t, crashed, &Options{Repair: true}))
	if r := records[record(1).ID]; r.EndedAt.IsZero() || len(records) != 4 {
		t.Errorf("%d records, of which 1 ended at %v; want the 4 of the file, and its end", len(records), r.EndedAt)
	}
}
