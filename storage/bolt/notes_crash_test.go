package bolt

import (
	"bytes"
	"errors"
	"math/rand/v2"
	"os"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// history is a file before a record is ended, after that, and after one more commit.
type history struct {
	before, after, next []byte
	record              storage.Record
	slots               int64
}

// endHistory makes one, with that many commits before. plant may spoil the store.
func endHistory(t *testing.T, commits int, plant func(*Store)) history {
	t.Helper()
	path, before := makeFile(t, 40+commits)
	s := open(t, path, &lazy)
	plant(s)
	h := history{before: before, record: record(3), slots: s.log.notes.at}
	put(t, s, ended(h.record))
	h.after = readFile(t, path)
	put(t, s, record(200))
	h.next = readFile(t, path)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return h
}

// crashed returns what a disk may hold of the writes that lead from one file to the
// other if the power fails before the last of them, that of the meta page: some sectors.
func crashed(r *rand.Rand, from, to []byte) []byte {
	image := append(bytes.Clone(from), to[len(from):]...)
	often := r.IntN(5) // of four: from nothing to all
	for at := 2 * os.Getpagesize(); at < len(to); at += sector {
		if r.IntN(4) < often {
			copy(image[at:at+sector], to[at:])
		}
	}
	return image
}

// fate opens image and says what has become of h's record: it lives, it was ended, or
// the file is refused.
func (h *history) fate(t *testing.T, image []byte, opts *Options) string {
	t.Helper()
	path := t.TempDir() + "/tokens.db"
	if err := os.WriteFile(path, image, 0o600); err != nil {
		t.Fatal(err)
	}
	fates := make([]string, 2)
	for i := range fates { // it stays what it is once it was opened
		s, err := Open(path, opts)
		if err != nil {
			if i > 0 || !errors.Is(err, storage.ErrCorrupt) {
				t.Fatalf("opened for the %d. time: %v", i+1, err)
			}
			return "refused"
		}
		switch got, inside := shown(t, s, h.record.ID), inFile(t, s, h.record.ID); {
		case got != inside:
			t.Fatalf("shown %+v, in the file %+v", got, inside)
		case got == h.record:
			fates[i] = "alive"
		case got == ended(h.record):
			fates[i] = "ended"
		default:
			t.Fatalf("%+v; want it as it was, or ended", got)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if opts, err = nil, nil; fates[0] != fates[i] {
			t.Fatalf("first %s, then %s", fates[0], fates[i])
		}
	}
	return fates[0]
}

// losses counts what becomes of an end that was acknowledged, at crash points of the
// commit after it and without a crash, when either meta page is lost.
func losses(t *testing.T, r *rand.Rand, h history) map[string]int {
	t.Helper()
	fates := make(map[string]int)
	for range 6 {
		for _, image := range [][]byte{h.after, h.next, crashed(r, h.after, h.next)} {
			for _, how := range damagesOfMeta {
				for page := range 2 {
					bad := bytes.Clone(image)
					how.damage(metaPage(bad, page))
					if got := h.fate(t, bad, nil); got != "refused" {
						t.Errorf("%s, without Repair: %s", how.name, got)
					}
					fates[h.fate(t, bad, &Options{Repair: true})]++
				}
			}
		}
	}
	return fates
}

// TestNoteAtEveryCrash: a crash on the way to an end leaves the token as it was, or
// ended; once the end was acknowledged, neither a crash on the way to the next commit
// nor the loss of either meta page brings it back.
func TestNoteAtEveryCrash(t *testing.T) {
	r := chance(drawn(t), 0)
	for commits := range 2 { // so that the newest meta page is each of the two
		h := endHistory(t, commits, func(*Store) {})
		fates := make(map[string]int)
		for range 40 {
			fates[h.fate(t, crashed(r, h.before, h.after), nil)]++
		}
		if fates["alive"] == 0 || fates["ended"] == 0 || fates["refused"] > 0 {
			t.Errorf("crashes on the way: %v; want it alive at times and ended at others", fates)
		}
		for range 20 {
			if got := h.fate(t, crashed(r, h.after, h.next), nil); got != "ended" {
				t.Errorf("after a crash on the way to the next commit: %s", got)
			}
		}
		if fates := losses(t, r, h); fates["alive"] > 0 || fates["ended"] == 0 {
			t.Errorf("losing a meta page: %v; want it never alive", fates)
		}
	}
}

// TestMissingNoteIsCaught: a store that writes its notes elsewhere loses an end with
// a meta page.
func TestMissingNoteIsCaught(t *testing.T) {
	elsewhere, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	defer elsewhere.Close()
	h := endHistory(t, 0, func(s *Store) { s.log.notes.file = elsewhere })
	if fates := losses(t, chance(drawn(t), 0), h); fates["alive"] == 0 {
		t.Errorf("losing a meta page: %v; want it alive at times", fates)
	}
}
