package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/storage"
)

// moment is a store that is open, as a crash would leave it: its file, its log (nil: none), and
// what was acknowledged.
type moment struct {
	name      string
	file, log []byte
	holds     map[storage.ID]storage.Record
}

func momentOf(t *testing.T, name string, s *Store, path string) moment {
	t.Helper()
	m := moment{name: name, file: readFile(t, path)}
	m.log, _ = os.ReadFile(logPath(path))
	m.holds, _ = contents(t, s)
	return m
}

// moments returns what a crash leaves at different times of the life of one store, in which
// records are put and ended all the time. The store is opened three times: twice groups go into
// the log at once and two checkpoints come, then groups go into the file before the log begins.
// before, unless it is nil, is called with the store before each group.
func moments(t *testing.T, before func(*Store)) (all []moment) {
	t.Helper()
	path, _ := makeFileIn(t, quickDir(t), 3)
	n := 100
	for _, opening := range []string{"", ", opened again", ", opened a third time"} {
		direct := opening == ", opened a third time"
		s := open(t, path, &Options{logAtOnce: !direct})
		group := func(r storage.Record) {
			if before != nil {
				before(s)
			}
			put(t, s, r)
		}
		step := func(name string) {
			group(record(n))
			group(ended(record(n - 100)))
			n++
			all = append(all, momentOf(t, name+opening, s, path))
		}
		all = append(all, momentOf(t, "opened"+opening, s, path))
		for n < 103 {
			group(record(n))
			n++
		}
		for range directGroups / 2 {
			if direct {
				step("a group in the file")
			}
		}
		step("first groups")
		step("more groups")
		for range 2 {
			if err := s.checkpoint(true); err != nil {
				t.Fatal(err)
			}
			all = append(all, momentOf(t, "checkpoint"+opening, s, path))
			step("behind a checkpoint")
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
	return all
}

// timesPaired is how many pairs of a file and a log opened, how many were refused, and which of
// them should have been something else.
type timesPaired struct {
	opened, refused int
	wrong           []string
}

// pairAll opens the file of each moment with the log of each, after as(file, log) has changed the
// log, and with none. A few pairs that are wrong end it.
func pairAll(t *testing.T, all []moment, as func(file, log []byte) []byte) *timesPaired {
	t.Helper()
	p := new(timesPaired)
	path := filepath.Join(quickDir(t), "tokens.db")
	for i := range all {
		alone := fileAlone(t, path, all[i].file)
		for j := range len(all) + 1 {
			beside := moment{name: "none"}
			if j < len(all) {
				beside = all[j]
			}
			if beside.log != nil {
				beside.log = as(all[i].file, beside.log)
			}
			p.pair(t, path, &all[i], &beside, alone, i == j)
			if len(p.wrong) > 4 {
				return p
			}
		}
	}
	return p
}

// pair opens the file of one moment with the log of another. Both of one moment have to open with
// all that was acknowledged then. Any other pair is refused, or holds what the file alone does, or
// what the store held when the log was so.
func (p *timesPaired) pair(t *testing.T, path string, of, beside *moment, alone map[storage.ID]storage.Record, same bool) {
	t.Helper()
	os.Remove(logPath(path))
	write(t, path, of.file)
	if beside.log != nil {
		write(t, logPath(path), beside.log)
	}
	s, err := Open(path, nil)
	if err != nil {
		p.refused++
		if same || !errors.Is(err, storage.ErrCorrupt) {
			p.wrong = append(p.wrong, fmt.Sprintf("file of %s, log of %s: %v", of.name, beside.name, err))
		}
		return
	}
	p.opened++
	got, _ := contents(t, s)
	s.Close()
	if same && !sameRecords(got, of.holds) || !sameRecords(got, alone) && !sameRecords(got, beside.holds) {
		p.wrong = append(p.wrong, fmt.Sprintf("file of %s with %d records, log of %s with %d: there are %d of %d",
			of.name, len(alone), beside.name, len(beside.holds), len(got), len(of.holds)))
	}
}

func sameRecords(a, b map[storage.ID]storage.Record) bool {
	return maps.EqualFunc(a, b, storage.Record.Equal)
}

// asItIs leaves a log as it is.
func asItIs(_, log []byte) []byte { return log }

// fileAlone returns what a file holds without its log.
func fileAlone(t *testing.T, path string, file []byte) map[storage.ID]storage.Record {
	t.Helper()
	os.Remove(logPath(path))
	write(t, path, file)
	s := open(t, path, &Options{Repair: true})
	defer s.Close()
	got, _ := contents(t, s)
	return got
}

// TestFileAndLogOfDifferentTimes: a file of one time is never opened with a log that does not
// follow on it.
func TestFileAndLogOfDifferentTimes(t *testing.T) {
	all := moments(t, nil)
	p := pairAll(t, all, asItIs)
	for _, wrong := range p.wrong {
		t.Error(wrong)
	}
	t.Logf("%d pairs opened, %d refused", p.opened, p.refused)
	if p.opened < len(all) || p.refused < len(all) {
		t.Error("the pairs are not what they should be")
	}
}

// TestWrongParentIsCaught: the same pairs catch a store that opens a log under the wrong parent:
// one that compares no parent, and one whose groups in the file leave the parent as it is.
func TestWrongParentIsCaught(t *testing.T) {
	caught := func(name string, p *timesPaired) {
		if len(p.wrong) == 0 {
			t.Errorf("%s: %d pairs opened, %d refused, and nothing was wrong", name, p.opened, p.refused)
			return
		}
		t.Logf("%s: after %d pairs: %s", name, p.opened+p.refused, p.wrong[0])
	}
	caught("no parent is compared", pairAll(t, moments(t, nil), func(file, b []byte) []byte { return adopted(t, file, b) }))
	caught("groups in the file are not counted", pairAll(t, moments(t, uncount), asItIs))
}

// adopted returns a log with the parent that the state of file is: readLog takes it as if there
// were no comparison.
func adopted(t *testing.T, file, b []byte) []byte {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tokens.db")
	write(t, path, file)
	st := stateAt(t, path)
	const parent = len("lapse log\n") + 2 + len(log.ID{}) // magic, version, ID
	b = append([]byte(nil), b...)
	copy(b[parent:], st.Log[:])
	binary.BigEndian.PutUint64(b[parent+len(log.ID{}):], st.Merged)
	binary.BigEndian.PutUint32(b[508:], crc32.Checksum(b[:508], castagnoli))
	return b
}

// uncount has the next group, if it goes into the file, write the number that the last one wrote.
func uncount(s *Store) {
	s.tree.Turn.Take()
	defer s.tree.Turn.Give()
	if s.journal.direct > 0 && s.journal.current() == nil && !s.wantsLog() {
		s.tree.State.Merged--
	}
}
