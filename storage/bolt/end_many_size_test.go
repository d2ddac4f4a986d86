package bolt

import (
	"context"
	"os"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestEndOfManyIsShort: what ends 100,000 tokens of a subject at once adds at most 60 bytes of log
// for each of them, and the file does not grow beyond what the records take.
func TestEndOfManyIsShort(t *testing.T) {
	const step = 10_000
	tokens := sample.Of(100_000, 10_000)
	path, _ := makeFileIn(t, quickDir(t), 0)
	s := open(t, path, &Options{logAtOnce: true})
	for at := 0; at < tokens; at += step {
		if err := putting(s, anas(at, at+step)...); err != nil {
			t.Fatal(err)
		}
	}
	inFile(t, s, record(0).ID) // takes the log into the tree
	file, logged := sizeOf(t, path), s.Stats().LogSize
	s.tree.Turn.Take() // no checkpoint begins
	err := s.Update(context.Background(), "ana", func(tx storage.Tx) error {
		for _, r := range anas(0, tokens) {
			if err := tx.Put(ended(r)); err != nil {
				return err
			}
		}
		return nil
	})
	added := s.Stats().LogSize - logged
	s.tree.Turn.Give()
	if err != nil || added > 60*int64(tokens) {
		t.Errorf("%v; the log is %d bytes longer; want at most 60 for each of %d", err, added, tokens)
	}
	if got := inFile(t, s, record(0).ID); got.EndedAt.IsZero() {
		t.Error("the end is not in the file")
	}
	if grown := sizeOf(t, path) - file; grown > file {
		t.Errorf("the file has grown from %d by %d bytes; want no more than the records take once more", file, grown)
	}
}

func sizeOf(t *testing.T, path string) int64 {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Size()
}
