package bolt

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// scratch returns an empty journal in a file of its own, with halves of so many blocks.
func scratch(t *testing.T, blocks int) *journal {
	t.Helper()
	f, err := os.Create(filepath.Join(quickDir(t), "journal"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	j := &journal{file: f, name: testName, at: blockLen, half: blocks * blockLen, write: (*journal).writeThrough}
	if err := f.Truncate(j.at + int64(2*j.half)); err != nil {
		t.Fatal(err)
	}
	j.begin(0)
	return j
}

// inFrame returns an op whose frame takes so many blocks, and is of number n.
func inFrame(n, blocks int) []*op {
	return []*op{puts(n, strings.Repeat("v", blocks*blockLen-frameHeader-entryHeader))}
}

// fill adds n frames of so many blocks, and goes on in the other half where one is full.
func (j *journal) fill(t *testing.T, n, blocks int) {
	t.Helper()
	for range n {
		ops := inFrame(int(j.seq+1), blocks)
		if !j.fits(blocks * blockLen) {
			j.begin(1 - j.in)
		}
		if happened, err := j.add(ops, nil); err != nil || happened {
			t.Fatal(err)
		}
	}
}

// spoil clears n bytes of the block of that half.
func (j *journal) spoil(t *testing.T, half, block, n int) {
	t.Helper()
	if _, err := j.file.WriteAt(make([]byte, n), j.at+int64(half*j.half+block*blockLen)); err != nil {
		t.Fatal(err)
	}
}

// found returns the first and the last number of what j has behind seq, 0 and 0 for
// nothing, and checks that each is what fill has added.
func (j *journal) found(t *testing.T, seq uint64, halves ...int) (first, last uint64, err error) {
	t.Helper()
	frames, err := j.after(seq, halves...)
	for i, f := range frames {
		list, _, err := f.changes(nil)
		if err != nil || len(list) != 1 || list[0].id != record(int(f.seq)).ID || f.seq != frames[0].seq+uint64(i) {
			t.Errorf("frame %d behind %d: %d changes, %v", f.seq, seq, len(list), err)
		}
	}
	if len(frames) == 0 {
		return 0, 0, err
	}
	return frames[0].seq, frames[len(frames)-1].seq, err
}

// TestFramesBehind fills a journal with halves of 8 blocks and looks what is behind a
// number.
func TestFramesBehind(t *testing.T) {
	both := []int{0, 1}
	for _, row := range []struct {
		name        string
		do          func(j *journal)
		seq         uint64
		halves      []int
		first, last uint64
		gap         bool
	}{
		{"nothing", func(*journal) {}, 0, both, 0, 0, false},
		{"one", func(j *journal) { j.fill(t, 1, 1) }, 0, both, 1, 1, false},
		{"one, merged", func(j *journal) { j.fill(t, 1, 1) }, 1, both, 0, 0, false},
		{"one half full", func(j *journal) { j.fill(t, 8, 1) }, 0, both, 1, 8, false},
		{"all but the first merged", func(j *journal) { j.fill(t, 8, 1) }, 1, both, 2, 8, false},
		{"one not merged", func(j *journal) { j.fill(t, 8, 1) }, 7, both, 8, 8, false},
		{"all merged", func(j *journal) { j.fill(t, 8, 1) }, 8, both, 0, 0, false},
		{"more merged than there is", func(j *journal) { j.fill(t, 8, 1) }, 9, both, 0, 0, false},
		{"none that follows", func(j *journal) { j.seq = 3; j.fill(t, 2, 1) }, 2, both, 0, 0, true},
		{"both halves", func(j *journal) { j.fill(t, 9, 1) }, 0, both, 1, 9, false},
		{"both halves full", func(j *journal) { j.fill(t, 16, 1) }, 3, both, 4, 16, false},
		{"the other half alone", func(j *journal) { j.fill(t, 9, 1) }, 8, []int{1}, 9, 9, false},
		{"the other half alone, too early", func(j *journal) { j.fill(t, 9, 1) }, 7, []int{1}, 0, 0, true},
		{"the first half, of which the other is merged", func(j *journal) { j.fill(t, 18, 1) }, 16, both, 17, 18, false},
		{"the first half, behind the other", func(j *journal) { j.fill(t, 18, 1) }, 8, both, 9, 18, false},
		{"several blocks", func(j *journal) { j.fill(t, 4, 3) }, 0, both, 1, 4, false},
		{"several blocks, of which the first are written over", func(j *journal) { j.fill(t, 5, 3) }, 2, both, 3, 5, false},
		{"behind larger ones of a round before", func(j *journal) { j.fill(t, 4, 3); j.begin(0); j.fill(t, 2, 1) }, 4, both, 5, 6, false},
		{"over smaller ones of a round before", func(j *journal) { j.fill(t, 16, 1); j.fill(t, 1, 3) }, 16, both, 17, 17, false},
		{"the last one lost", func(j *journal) { j.fill(t, 5, 1); j.spoil(t, 0, 4, 1) }, 0, both, 1, 4, false},
		{"the only one lost", func(j *journal) { j.fill(t, 5, 1); j.spoil(t, 0, 4, blockLen) }, 4, both, 0, 0, false},
		{"the last one torn", func(j *journal) { j.fill(t, 2, 3); j.spoil(t, 0, 5, sector) }, 0, both, 1, 1, false},
		{"torn over those of a round before", func(j *journal) { j.fill(t, 16, 1); j.fill(t, 1, 3); j.spoil(t, 0, 0, sector) }, 16, both, 0, 0, false},
		{"one before the last lost", func(j *journal) { j.fill(t, 5, 1); j.spoil(t, 0, 3, 1) }, 0, both, 0, 0, true},
		{"one before the last torn", func(j *journal) { j.fill(t, 3, 2); j.spoil(t, 0, 3, sector) }, 0, both, 0, 0, true},
		{"the first lost", func(j *journal) { j.fill(t, 5, 1); j.spoil(t, 0, 0, 1) }, 0, both, 0, 0, true},
		{"the first lost, when it was merged", func(j *journal) { j.fill(t, 5, 1); j.spoil(t, 0, 0, 1) }, 1, both, 2, 5, false},
		{"the last of a half lost", func(j *journal) { j.fill(t, 9, 1); j.spoil(t, 0, 7, 1) }, 0, both, 0, 0, true},
		{"of another journal", func(j *journal) { j.fill(t, 5, 1); j.name[0]++ }, 0, both, 0, 0, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			j := scratch(t, 8)
			row.do(j)
			first, last, err := j.found(t, row.seq, row.halves...)
			if first != row.first || last != row.last || errors.Is(err, errGap) != row.gap || (err != nil) != row.gap {
				t.Errorf("%d to %d, %v; want %d to %d, a gap: %v", first, last, err, row.first, row.last, row.gap)
			}
			if row.gap && !errors.Is(err, storage.ErrCorrupt) {
				t.Errorf("%v; want ErrCorrupt", err)
			}
		})
	}
}

// TestJournalGoesRound: however often the halves have been filled, with frames of any
// length, everything since the half was begun is found, and what is in the other half.
func TestJournalGoesRound(t *testing.T) {
	j, r := scratch(t, 8), chance(drawn(t), 0)
	begun := []uint64{1, 1} // the first number in this half, and in the one before
	for j.seq < 400 {
		half := j.in
		j.fill(t, 1, 1+r.IntN(5))
		if j.in != half {
			begun = []uint64{j.seq, begun[0]}
		}
		for _, from := range slices.Compact([]uint64{begun[1], begun[0], j.seq}) {
			if first, last, err := j.found(t, from-1, 0, 1); first != from || last != j.seq || err != nil {
				t.Fatalf("behind %d: %d to %d, %v; want all to %d", from-1, first, last, err, j.seq)
			}
		}
	}
}

// forging returns a record with the frame of ops, as one of that name and number, where a
// block begins when it is put by itself.
func forging(t *testing.T, name journalName, seq uint64, ops ...*op) storage.Record {
	t.Helper()
	forged := appendFrame(nil, name, seq, ops, nil)
	r := record(70)
	r.Data = strings.Repeat("d", storage.MaxData)
	r.Name = strings.Repeat("n", storage.MaxName) // or there is too little of the data behind the block's beginning
	value, err := encode(&r)
	if err != nil {
		t.Fatal(err)
	}
	at := blockLen - frameHeader - entryHeader - bytes.Index(value, []byte("dddd"))
	r.Data = r.Data[:at] + string(forged) + r.Data[at+len(forged):]
	return r
}

// TestForgedFrame: who chooses what a record holds cannot have it taken for a frame, since
// nobody knows the journal's name. With that name it would be.
func TestForgedFrame(t *testing.T) {
	for _, row := range []struct {
		name  string
		ahead uint64 // of the forging record's own frame
		leave func(t *testing.T, path string, s *Store) []byte
	}{
		{"its own frame whole", 1, func(t *testing.T, path string, s *Store) []byte { return readFile(t, path) }},
		{"its own frame torn", 0, func(t *testing.T, path string, s *Store) []byte {
			file := readFile(t, path)
			clear(file[s.log.journal.end-2*blockLen:][:sector])
			return file
		}},
		{"its own frame partly written over", 2, func(t *testing.T, path string, s *Store) []byte {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			put(t, open(t, path, nil), record(30))
			return readFile(t, path)
		}},
	} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s, the name known: %v", row.name, known), func(t *testing.T) {
				path, _ := makeFile(t, 20)
				s := open(t, path, nil)
				victim := record(3)
				put(t, s, ended(victim))
				name := s.log.journal.name
				if !known {
					name[0]++
				}
				live, err := encode(&victim)
				if err != nil {
					t.Fatal(err)
				}
				seq := s.log.journal.seq + 1
				if s.Close() != nil {
					t.Fatal("Close")
				}
				s = open(t, path, nil)
				put(t, s, forging(t, name, seq+row.ahead, puts(3, string(live))))
				revived := shown(t, openCopy(t, row.leave(t, path, s)), victim.ID).Equal(victim)
				if want := known && row.ahead != 1; revived != want {
					t.Errorf("it was taken for a frame: %v; want %v", revived, want)
				}
			})
		}
	}
}

// TestFrameIsTakenBack: a frame that could not be written as it should have been is not in
// the file for good when its caller hears so; if it cannot be taken back, the outcome is
// unknown.
func TestFrameIsTakenBack(t *testing.T) {
	for _, row := range []struct {
		name    string
		written int // bytes of the frame, before the error
		want    error
	}{
		{"nothing is written", 0, storage.ErrUnavailable},
		{"a sector is", sector, storage.ErrUnavailable},
		{"a block is", blockLen, storage.ErrUnavailable},
		{"all is", 2 * blockLen, storage.ErrUnavailable},
		{"all is, and stays", 2 * blockLen, storage.ErrOutcomeUnknown},
	} {
		t.Run(row.name, func(t *testing.T) {
			path, _ := makeFile(t, 3)
			s := open(t, path, &lazy)
			put(t, s, record(10))
			tries := 0
			s.log.journal.write = func(j *journal, b []byte, at int64) error {
				switch tries++; {
				case tries == 1:
					return errors.Join(j.writeThrough(b[:row.written], at), errDisk)
				case tries == 2 && row.want == storage.ErrOutcomeUnknown:
					return errDisk
				}
				return j.writeThrough(b, at)
			}
			r := record(20)
			r.Data = strings.Repeat("x", storage.MaxData)
			if err := putting(s, r); !errors.Is(err, row.want) || !errors.Is(err, errDisk) {
				t.Errorf("%v; want %v, and what made it", err, row.want)
			}
			if erased := tries == 2; erased != (row.written == 2*blockLen) {
				t.Errorf("it was written to %d times", tries)
			}
			there := row.want == storage.ErrOutcomeUnknown
			if _, err := openCopy(t, readFile(t, path)).Get(t.Context(), r.ID); (err == nil) != there {
				t.Errorf("it is there after a crash: %v; want %v", err, there)
			}
			put(t, s, record(30))
			c := openCopy(t, readFile(t, path))
			if got, _ := contents(t, c); len(got) != 5+map[bool]int{true: 1}[there] || !got[record(30).ID].Equal(record(30)) {
				t.Errorf("after one more write there are %d records", len(got))
			}
		})
	}
}
