package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// specimen is a file to be damaged, with the log of a process that crashed: its bytes, and
// those that it had before each of its last commits, the latest last.
type specimen struct {
	versions [][]byte
	logs     [][]byte // beside each of versions
	foreign  []byte   // the log of another store
	pages    map[pageKind][]int
}

// pageKind is what a page of a specimen is for, mostly in the words of bbolt's PageInfo.
type pageKind string

const (
	kindMeta     pageKind = "meta"
	kindBranch   pageKind = "branch"
	kindLeaf     pageKind = "leaf"
	kindOverflow pageKind = "overflow" // goes on with a leaf
	kindFree     pageKind = "free"
	kindLog      pageKind = "log" // a block of the log that came behind the last checkpoint
)

const specimenRecords = 480

// specimenRecord returns what the specimen's n-th record is at first. Most are so
// large that few fit on a page; some need several pages. The frame of the last record takes more
// than a block of the log: so of the frames before it none is lost unseen with one block.
func specimenRecord(n int) storage.Record {
	r := record(n)
	switch {
	case n%25 == 0, n == specimenRecords:
		r.Data = strings.Repeat("z", storage.MaxData)
	case n%4 != 0:
		r.Data = strings.Repeat("y", 1200+n)
	}
	return r
}

// makeSpecimen writes the versions of a new specimen into dir. It has pages of every
// kind, on several levels, and records that live, that ran out and that were ended.
func makeSpecimen(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "tokens.db")
	s, err := Open(path, &Options{logAtOnce: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	commit := func(from, to int, change func(*storage.Record)) {
		for n := from; n < to; {
			subject := record(n).Subject
			err := s.Update(context.Background(), subject, func(tx storage.Tx) error {
				for ; n < to && record(n).Subject == subject; n++ {
					r, err := tx.Get(record(n).ID)
					if err != nil {
						r = specimenRecord(n)
					}
					change(&r)
					if err := tx.Put(r); err != nil {
						return err
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	versions := 0
	version := func() { // free pages have what earlier versions hold
		if err := s.checkpoint(true); err != nil {
			t.Fatal(err)
		}
		copyStoreTo(t, path, versionPath(dir, versions))
		versions++
	}
	ends := func(r *storage.Record) { r.EndedAt, r.EndReason = r.IssuedAt.AddDate(0, 0, 1), storage.EndRevoked }
	commit(0, specimenRecords, func(r *storage.Record) {
		if n := serialOf(r.ID); n%10 == 3 {
			r.ExpiresAt = r.IssuedAt // ran out
		} else if n%7 == 5 {
			r.Generation, r.RotatedAt, r.PreviousUntil = uint32(n), r.IssuedAt, r.ExpiresAt
			r.Sealed = storage.NewSealed(strings.Repeat("s", n))
		} else if n%3 == 0 {
			ends(r)
		}
	})
	version()
	commit(200, 230, func(r *storage.Record) { r.LastUsedAt = r.IssuedAt.AddDate(0, 0, 2) })
	version()
	if _, err := s.Sweep(context.Background(), record(60).IssuedAt, 100); err != nil {
		t.Fatal(err)
	}
	for { // one record changes: its leaf moves between a few pages
		commit(rewritten, rewritten+1, func(r *storage.Record) {
			r.ExpiresAt = r.ExpiresAt.AddDate(0, 0, 1)
		})
		version()
		made, err := readSpecimen(dir)
		if err != nil {
			t.Fatal(err)
		}
		if versions > 12 && len(made.choices(sameLeaf)) > 0 {
			for n := range journaled - 1 {
				commit(250+n, 251+n, ends)
			}
			if err := deleting(s, specimenRecord(deleted)); err != nil {
				t.Fatal(err)
			}
			put(t, s, specimenRecord(specimenRecords)) // which may be lost, and is gone then
			copyStoreTo(t, path, versionPath(dir, versions))
			makeForeignLog(t, dir)
			return
		}
		if versions > 100 {
			t.Fatal("no leaf ever comes back to where it was")
		}
	}
}

// journaled is how many of the last writes of a specimen are in its log alone, besides the
// very last one.
const journaled = 6

// deleted is the record that one of those writes deletes.
const deleted = 260

// makeForeignLog leaves the log of another store in dir.
func makeForeignLog(t *testing.T, dir string) {
	t.Helper()
	path := filepath.Join(dir, "foreign")
	s, err := Open(path, &Options{logAtOnce: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	put(t, s, record(1))
	copyFile(t, logPath(path), filepath.Join(dir, foreignLog))
}

const foreignLog = "foreign-log"

// copyStoreTo copies a file with the log beside it.
func copyStoreTo(t *testing.T, from, to string) {
	t.Helper()
	copyFile(t, from, to)
	copyFile(t, logPath(from), logPath(to))
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	if err := os.WriteFile(to, readFile(t, from), 0o600); err != nil {
		t.Fatal(err)
	}
}

// rewritten is the record whose leaf the last versions have in different states.
const rewritten = 310

func versionPath(dir string, n int) string { return filepath.Join(dir, fmt.Sprintf("version-%d", n)) }

// readSpecimen reads what makeSpecimen has left in dir.
func readSpecimen(dir string) (*specimen, error) {
	s := &specimen{pages: make(map[pageKind][]int)}
	last := 0
	for n := 0; ; n++ {
		file, err := os.ReadFile(versionPath(dir, n))
		if os.IsNotExist(err) && n > 0 {
			break
		}
		if err != nil {
			return nil, err
		}
		beside, err := os.ReadFile(logPath(versionPath(dir, n)))
		if err != nil {
			return nil, err
		}
		last = n
		s.versions, s.logs = append(s.versions, file), append(s.logs, beside)
	}
	s.foreign, _ = os.ReadFile(filepath.Join(dir, foreignLog))
	return s, s.sort(versionPath(dir, last))
}

func (s *specimen) file() []byte { return s.versions[len(s.versions)-1] }

func (s *specimen) log() []byte { return s.logs[len(s.logs)-1] }

// sort finds out what each page is, of the file at path and of the log.
func (s *specimen) sort(path string) error {
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true, PreLoadFreelist: true})
	if err != nil {
		return err
	}
	defer db.Close()
	err = db.View(func(btx *bbolt.Tx) error {
		for id := 0; id < int(btx.Size()/pageSize); {
			info, err := btx.Page(id)
			if err != nil {
				return err
			}
			s.pages[pageKind(info.Type)] = append(s.pages[pageKind(info.Type)], id*pageSize)
			for id++; info.Type != string(kindFree) && info.OverflowCount > 0; id, info.OverflowCount = id+1, info.OverflowCount-1 {
				s.pages[kindOverflow] = append(s.pages[kindOverflow], id*pageSize)
			}
		}
		return nil
	})
	for at := 0; at < len(s.log()) && len(s.logs) > 1; at += pageSize {
		if !bytes.Equal(s.log()[at:at+pageSize], s.logs[len(s.logs)-2][at:at+pageSize]) {
			s.pages[kindLog] = append(s.pages[kindLog], at)
		}
	}
	return err
}

// firstKey returns the first key of the leaf that begins at, nil if it has none
// where one would be.
func firstKey(file []byte, at int) []byte {
	page := file[at:]
	if binary.NativeEndian.Uint16(page[pageFlags:]) != leafPage || binary.NativeEndian.Uint16(page[pageCount:]) == 0 {
		return nil
	}
	pos := int(binary.NativeEndian.Uint32(page[pageHeader+4:]))
	if pos > len(page)-pageHeader-16 {
		return nil
	}
	return bytes.Clone(page[pageHeader+pos:][:16])
}
