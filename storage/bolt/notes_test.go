package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestWhichNotesCount spoils the note of an end whose meta page was never written, or
// puts it elsewhere.
func TestWhichNotesCount(t *testing.T) {
	h := endHistory(t, 0, func(*Store) {})
	image := bytes.Clone(h.after)
	page := newestMeta(image)
	copy(metaPage(image, page), metaPage(h.before, page))
	tx := binary.NativeEndian.Uint64(metaPage(h.after, page)[pageHeader+metaTx:])
	at := h.slots + int64(tx%2)*slotLen
	other := h.slots + int64((tx+1)%2)*slotLen
	sign := func(note []byte) {
		n := noteHeader + int(binary.BigEndian.Uint32(note[12:]))
		binary.BigEndian.PutUint32(note, crc32.Checksum(note[4:n], castagnoli))
	}
	of := func(tx uint64) func(b []byte) {
		return func(b []byte) {
			binary.BigEndian.PutUint64(b[at+4:], tx)
			sign(b[at:])
		}
	}
	for _, row := range []struct {
		name string
		do   func(b []byte)
		want string
	}{
		{"as it was written", func([]byte) {}, "ended"},
		{"of a later transaction", of(tx + 2), "ended"},
		{"of the newest transaction", of(tx - 1), "alive"},
		{"of an older transaction", of(tx - 2), "alive"},
		{"in the other slot", func(b []byte) { copy(b[other:], b[at:at+slotLen]); clear(b[at:][:slotLen]) }, "alive"},
		{"in both slots", func(b []byte) { copy(b[other:], b[at:at+slotLen]) }, "ended"},
		{"zeroed", func(b []byte) { clear(b[at:][:slotLen]) }, "alive"},
		{"torn", func(b []byte) { clear(b[at+sector/4:][:sector]) }, "alive"},
		{"with another's checksum", func(b []byte) { b[at] ^= 1 }, "alive"},
		{"longer than it was", func(b []byte) { b[at+15]++ }, "alive"},
		{"longer than its slot", func(b []byte) { binary.BigEndian.PutUint32(b[at+12:], 1<<32-1) }, "alive"},
		{"of a record longer than it", func(b []byte) { b[at+noteHeader+19]++; sign(b[at:]) }, "alive"},
		{"of a record shorter than it", func(b []byte) { b[at+noteHeader+19]--; sign(b[at:]) }, "alive"},
		{"of another's record", func(b []byte) { b[at+noteHeader] ^= 1; sign(b[at:]) }, "alive"},
		{"of a damaged record", func(b []byte) { b[at+noteHeader+noteEntry+20] ^= 1; sign(b[at:]) }, "alive"},
	} {
		t.Run(row.name, func(t *testing.T) {
			bad := bytes.Clone(image)
			row.do(bad)
			if got := h.fate(t, bad, nil); got != row.want {
				t.Errorf("%s; want %s", got, row.want)
			}
		})
	}
}

// TestNoteIsTakenBack: the note of a commit that is known not to have happened is gone
// for good when its caller hears of it; if it cannot be, the outcome is unknown.
func TestNoteIsTakenBack(t *testing.T) {
	path, _ := makeFile(t, 10)
	s := open(t, path, &lazy)
	h := history{record: record(3)}
	var during []byte
	failCommit(s, func(*bbolt.Tx) error {
		during = readFile(t, path)
		return errDisk
	})
	if err := putting(s, ended(h.record)); !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, storage.ErrOutcomeUnknown) {
		t.Errorf("Update: %v; want ErrUnavailable", err)
	}
	if got := h.fate(t, during, nil); got != "ended" {
		t.Errorf("while it is being written: %s; nothing was noted", got)
	}
	if got := h.fate(t, readFile(t, path), nil); got != "alive" {
		t.Errorf("afterwards: %s", got)
	}
	blind, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer blind.Close()
	failCommit(s, func(*bbolt.Tx) error {
		s.log.notes.file = blind
		return errDisk
	})
	if err := putting(s, ended(h.record)); !errors.Is(err, storage.ErrOutcomeUnknown) || !errors.Is(err, errDisk) {
		t.Errorf("Update: %v; want ErrOutcomeUnknown", err)
	}
	if got := inFile(t, s, h.record.ID); got != ended(h.record) {
		t.Errorf("in the file it is %+v; want it ended", got)
	}
}

// TestEndsThatDoNotFit: what is too much for a note is under both meta pages.
func TestEndsThatDoNotFit(t *testing.T) {
	most := -1 // as many as fit
	for size := noteHeader; size <= slotLen; most++ {
		r := record(most + 1)
		r.Subject = "ana"
		value, err := encode(&r)
		if err != nil {
			t.Fatal(err)
		}
		size += noteEntry + len(value)
	}
	for _, n := range []int{most, most + 1} {
		path, _ := makeFile(t, 0)
		s := open(t, path, nil)
		putAnas(t, s, 0, n, 0)
		endAnas(t, s, 0, n)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		file := readFile(t, path)
		root := func(page int) uint64 {
			return binary.NativeEndian.Uint64(metaPage(file, page)[pageHeader+metaRoot:])
		}
		if mirrored := root(0) == root(1); mirrored != (n > most) {
			t.Errorf("%d ends: both meta pages say the same: %v", n, mirrored)
		}
		for page := range 2 {
			bad := bytes.Clone(file)
			clear(metaPage(bad, page))
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			s := open(t, path, &Options{Repair: true})
			for id, r := range first(contents(t, s)) {
				if r.EndedAt.IsZero() {
					t.Fatalf("%d ends, without meta page %d: %v lives", n, page, id)
				}
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestFileWithoutSlots: where nothing can be noted, an end is under both meta pages.
func TestFileWithoutSlots(t *testing.T) {
	path, _ := makeFile(t, 10)
	db, err := bbolt.Open(path, 0, options(defaultLockTimeout))
	if err != nil {
		t.Fatal(err)
	}
	err = errors.Join(db.Update(func(btx *bbolt.Tx) error {
		return errors.Join(btx.DeleteBucket(notesBucket), btx.Bucket(tokensBucket).SetSequence(0))
	}), db.Close())
	if err != nil {
		t.Fatal(err)
	}
	s := open(t, path, nil)
	put(t, s, ended(record(3)))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	h, file := history{record: record(3)}, readFile(t, path)
	for page := range 2 {
		bad := bytes.Clone(file)
		clear(metaPage(bad, page))
		if got := h.fate(t, bad, &Options{Repair: true}); got != "ended" {
			t.Errorf("without meta page %d: %s", page, got)
		}
	}
}

func first[A, B any](a A, _ B) A { return a }

// TestCopiesHaveNoNotes: what was noted in a file says nothing of the transactions of
// its copies.
func TestCopiesHaveNoNotes(t *testing.T) {
	path, _ := makeFile(t, 10)
	s := open(t, path, &lazy)
	put(t, s, ended(record(1)))
	put(t, s, ended(record(2)))
	h := history{record: record(3)}
	var copied bytes.Buffer
	err := s.Backup(writing(func(p []byte) (int, error) {
		if copied.Len() == 0 {
			put(t, s, ended(h.record)) // after the copy began, and before it has come to the slots
		}
		return copied.Write(p)
	}))
	if err != nil {
		t.Fatal(err)
	}
	if got := h.fate(t, copied.Bytes(), nil); got != "alive" {
		t.Errorf("in a copy that began before the end: %s", got)
	}
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	n := s.log.notes
	if left, err := n.after(0); n.at == 0 || err != nil || len(left) > 0 {
		t.Errorf("the compacted file has notes at %d: %v, %v", n.at, left, err)
	}
	put(t, s, ended(record(4)))
	if left, err := n.after(0); err != nil || len(left) != 1 {
		t.Errorf("after one more end: %v, %v", left, err)
	}
}

type writing func(p []byte) (int, error)

func (w writing) Write(p []byte) (int, error) { return w(p) }
