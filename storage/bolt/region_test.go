package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestJournalIsNotMissed: where the page that leads to the journal is damaged, the file is
// refused, or what is in the journal is shown; it is never taken for an empty one.
func TestJournalIsNotMissed(t *testing.T) {
	t.Parallel()
	path, _ := makeFile(t, 20)
	s := open(t, path, &lazy)
	for n := range 20 {
		put(t, s, ended(record(n)))
	}
	good := readFile(t, path)
	name := bytes.Index(good, s.log.journal.name[:])
	page := name / os.Getpagesize() * os.Getpagesize()
	path = filepath.Join(quickDir(t), "tokens.db")
	refusals := 0
	try := func(what string, bad []byte) {
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, nil)
		if err != nil {
			if refusals++; !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("%s: %v; want ErrCorrupt", what, err)
			}
			return
		}
		defer s.Close()
		for n := range 20 {
			if got, err := s.Get(context.Background(), record(n).ID); err != nil || !got.Equal(ended(record(n))) {
				t.Errorf("%s: record %d of 20 is %+v, %v", what, n, got, err)
				return
			}
		}
	}
	end := name + len(journalName{}) + sumLen
	fields := []int{8, 2, 2, 4, 4, 4, 4, 4, name - page - pageHeader - elementLen, len(journalName{}), sumLen} // of the page, its element, the key, the value
	bits, inName := flipped(chance(drawn(t), 0), fields), 0
	for _, bit := range bits {
		bit += 8 * page
		if bit >= 8*name {
			inName++
		}
		bad := bytes.Clone(good)
		bad[bit/8] ^= 1 << (bit % 8)
		try(fmt.Sprintf("byte %d, bit %d", bit/8-page, bit%8), bad)
	}
	for _, half := range []int{0, blockLen, leastHalf - blockLen, leastHalf + blockLen, 2 * leastHalf} {
		bad := bytes.Clone(good)
		binary.NativeEndian.PutUint32(bad[page+pageHeader+12:], uint32(regionLen(half)))
		try(fmt.Sprint("halves of ", half), bad)
	}
	if refusals < inName {
		t.Errorf("%d damages were refused; want %d at least", refusals, inName)
	}
	t.Logf("%d of %d bits of what leads to the journal", len(bits), 8*(end-page))
}
