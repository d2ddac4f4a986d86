package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// lastWrites are what a file with the records 0 to 19, all of ana, is given last.
var lastWrites = []struct {
	name  string
	write func(t *testing.T, s *Store)
	ended []int
	fresh int // the record that was issued after the last end, or 0
}{
	{"an end", func(t *testing.T, s *Store) { endAnas(t, s, 3, 4) }, []int{3}, 0},
	{"an issue, then an end", func(t *testing.T, s *Store) { putAnas(t, s, 20, 21, 0); endAnas(t, s, 3, 4) }, []int{3}, 0},
	{"an end, then an issue", func(t *testing.T, s *Store) { endAnas(t, s, 3, 4); putAnas(t, s, 20, 21, 0) }, []int{3}, 20},
	{"two ends", func(t *testing.T, s *Store) { endAnas(t, s, 3, 4); endAnas(t, s, 4, 5) }, []int{3, 4}, 0},
	{"an end of many", func(t *testing.T, s *Store) { endAnas(t, s, 0, 20) },
		[]int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, 0},
	{"an end in the middle of a group", endInAGroup, []int{3}, 0},
	{"an issue", func(t *testing.T, s *Store) { putAnas(t, s, 20, 21, 0) }, nil, 20},
}

func endAnas(t *testing.T, s *Store, from, to int) {
	t.Helper()
	err := s.Update(context.Background(), "ana", func(tx storage.Tx) error {
		for n := from; n < to; n++ {
			r, err := tx.Get(record(n).ID)
			if r.EndedAt, r.EndReason = r.IssuedAt, storage.EndRevoked; err == nil {
				err = tx.Put(r)
			}
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// endInAGroup ends record 3 between two others that replace a record by itself.
func endInAGroup(t *testing.T, s *Store) {
	t.Helper()
	s.turn.Take()
	g := new(group)
	for _, n := range []int{1, 3, 2} {
		tx := s.stage.Begin("ana")
		r, err := tx.Get(record(n).ID)
		if n == 3 {
			r.EndedAt, r.EndReason = r.IssuedAt, storage.EndRevoked
		}
		o := new(op)
		if err := errors.Join(err, tx.Put(r), o.put("ana", tx.Writes())); err != nil {
			t.Fatal(err)
		}
		g = s.enqueue(o)
	}
	if len(g.ops) != 3 {
		t.Fatalf("the group has %d ops", len(g.ops))
	}
	s.turn.Give()
	<-g.done
	for _, o := range g.ops {
		if o.err != nil {
			t.Fatal(o.err)
		}
	}
}

// damagesOfMeta are what is done to the newest meta page of a file, or to the other.
var damagesOfMeta = []struct {
	name   string
	damage func(page []byte)
}{
	{"zeroed", func(page []byte) { clear(page) }},
	{"one bit", func(page []byte) { page[pageHeader+metaRoot] ^= 1 }},
	{"one bit of the checksum", func(page []byte) { page[pageHeader+metaChecksum+7] ^= 0x80 }},
	{"torn", func(page []byte) { clear(page[pageHeader+metaTx:]) }},
}

// newestMeta returns the number of the meta page that counts.
func newestMeta(file []byte) int {
	tx := func(n int) uint64 {
		return binary.NativeEndian.Uint64(file[n*os.Getpagesize()+pageHeader+metaTx:])
	}
	if tx(0) > tx(1) {
		return 0
	}
	return 1
}

func metaPage(file []byte, n int) []byte { return file[n*os.Getpagesize():][:os.Getpagesize()] }

// refusedButRepairable opens what is at path, which is file: ErrCorrupt, which names
// Options.Repair, and nothing is changed.
func refusedButRepairable(t *testing.T, path string, file []byte) {
	t.Helper()
	_, err := Open(path, nil)
	if !errors.Is(err, storage.ErrCorrupt) || !strings.Contains(err.Error(), "Options.Repair") {
		t.Errorf("Open: %v; want ErrCorrupt that names Options.Repair", err)
	}
	if !bytes.Equal(file, readFile(t, path)) {
		t.Error("refusing it changed the file")
	}
}

// TestLostMetaPage: whichever meta page is lost, no end is. Without Repair the file is
// refused; with it what was issued last may be missing and nothing else.
func TestLostMetaPage(t *testing.T) {
	t.Parallel()
	for _, last := range lastWrites[:shorter(len(lastWrites), 3)] {
		path, _ := makeFile(t, 0)
		s := open(t, path, nil)
		putAnas(t, s, 0, 20, 0)
		last.write(t, s)
		want, _ := contents(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		for _, n := range last.ended {
			if want[record(n).ID].EndedAt.IsZero() {
				t.Fatalf("%s: record %d has not been ended", last.name, n)
			}
		}
		good := readFile(t, path)
		for _, how := range damagesOfMeta {
			for _, newest := range []bool{true, false} {
				t.Run(last.name+"/"+how.name, func(t *testing.T) {
					bad, page := bytes.Clone(good), newestMeta(good)
					if !newest {
						page = 1 - page
					}
					how.damage(metaPage(bad, page))
					if err := os.WriteFile(path, bad, 0o600); err != nil {
						t.Fatal(err)
					}
					refusedButRepairable(t, path, bad)
					repaired(t, path, want, last.fresh, newest)
				})
			}
		}
	}
}

// openWhatIsLeft opens path and expects the records of want, of which the fresh one
// may be missing if the newest meta page was lost.
func openWhatIsLeft(t *testing.T, path string, opts *Options, want map[storage.ID]storage.Record, fresh int, newest bool) *Store {
	t.Helper()
	s := open(t, path, opts)
	got, _ := contents(t, s)
	for id, r := range want {
		if missing := newest && fresh != 0 && id == record(fresh).ID && got[id].Equal(storage.Record{}); !got[id].Equal(r) && !missing {
			t.Errorf("%v is %+v; want %+v", id, got[id], r)
		}
	}
	if len(got) > len(want) {
		t.Errorf("%d records; want %d", len(got), len(want))
	}
	return s
}

// repaired opens path with Repair, again without, and again with, and expects what
// openWhatIsLeft does.
func repaired(t *testing.T, path string, want map[storage.ID]storage.Record, fresh int, newest bool) {
	t.Helper()
	for i, opts := range []*Options{{Repair: true}, nil, {Repair: true}} {
		before := readFile(t, path)
		s := openWhatIsLeft(t, path, opts, want, fresh, newest)
		if s.Stats().Repaired != (i == 0) {
			t.Errorf("opened for the %d. time: Repaired is %v", i+1, s.Stats().Repaired)
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
		if i > 0 && !bytes.Equal(before, readFile(t, path)) {
			t.Errorf("opened for the %d. time: the sound file was changed", i+1)
		}
	}
}

// TestLostMetaPages: without either of them nothing is left to go by.
func TestLostMetaPages(t *testing.T) {
	path, good := makeFile(t, 20)
	for _, first := range damagesOfMeta {
		for _, second := range damagesOfMeta {
			bad := bytes.Clone(good)
			first.damage(metaPage(bad, 0))
			second.damage(metaPage(bad, 1))
			if err := os.WriteFile(path, bad, 0o600); err != nil {
				t.Fatal(err)
			}
			for _, opts := range []*Options{nil, {Repair: true}} {
				if _, err := Open(path, opts); !errors.Is(err, storage.ErrCorrupt) {
					t.Errorf("%s and %s: %v; want ErrCorrupt", first.name, second.name, err)
				}
			}
			if !bytes.Equal(bad, readFile(t, path)) {
				t.Errorf("%s and %s: the file was changed", first.name, second.name)
			}
		}
	}
}

// TestRepairKeepsDamage: a record that is damaged besides is denied as ever.
func TestRepairKeepsDamage(t *testing.T) {
	path, good := makeFile(t, 300)
	bad := damageRecord(t, good, 7)
	clear(metaPage(bad, newestMeta(bad)))
	if err := os.WriteFile(path, bad, 0o600); err != nil {
		t.Fatal(err)
	}
	refusedButRepairable(t, path, bad)
	s := open(t, path, &Options{Repair: true})
	records, damaged := contents(t, s)
	if len(damaged) != 1 || damaged[0] != record(7).ID || len(records) < 298 || !s.Stats().Repaired {
		t.Errorf("%d records, damaged %v, %+v", len(records), damaged, s.Stats())
	}
}

// TestStaleMetaPage puts a meta page back as it was some commits ago, as a disk does
// that says it has written and has not. No end is lost, with Repair or without. A
// newest page as it was before its last commit cannot be told from one that was never
// written again: then the file opens, and what was issued last is missing.
func TestStaleMetaPage(t *testing.T) {
	t.Parallel()
	for _, last := range lastWrites[:shorter(len(lastWrites), 3)] {
		path, _ := makeFile(t, 0)
		s := open(t, path, nil)
		var versions [][]byte
		for n := range 5 {
			putAnas(t, s, 4*n, 4*n+4, 0)
			versions = append(versions, readFile(t, path))
		}
		last.write(t, s)
		want, _ := contents(t, s)
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		good := readFile(t, path)
		refused := 0
		for i, version := range versions {
			for page := range 2 {
				bad := bytes.Clone(good)
				copy(metaPage(bad, page), metaPage(version, page))
				if bytes.Equal(good, bad) {
					continue
				}
				if err := os.WriteFile(path, bad, 0o600); err != nil {
					t.Fatal(err)
				}
				t.Run(fmt.Sprintf("%s/page %d of commit %d", last.name, page, i), func(t *testing.T) {
					newest := page == newestMeta(good)
					if s, err := Open(path, nil); err == nil {
						s.Close()
						openWhatIsLeft(t, path, nil, want, last.fresh, newest).Close()
						return
					}
					refused++
					refusedButRepairable(t, path, bad)
					repaired(t, path, want, last.fresh, newest)
				})
			}
		}
		if refused == 0 {
			t.Errorf("%s: everything opened: the pages are not as old as they should be", last.name)
		}
	}
}
