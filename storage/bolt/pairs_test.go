package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"hash/crc32"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

func write(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.WriteFile(path, b, 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLogsThatDoNotBelong: Open refuses them and changes nothing; with Repair it opens what the
// file holds, and the log is still there under another name.
func TestLogsThatDoNotBelong(t *testing.T) {
	other := func() []byte {
		path, _ := makeFile(t, 0)
		s := open(t, path, &Options{logAtOnce: true})
		put(t, s, record(77))
		return readFile(t, logPath(path))
	}()
	for _, row := range []struct {
		name  string
		spoil func(log []byte) []byte
		want  error
		named bool // another name is given to it
	}{
		{"missing", func([]byte) []byte { return nil }, recovery.ErrLogMissing, false},
		{"of another store", func([]byte) []byte { return other }, recovery.ErrLogForeign, true},
		{"damaged", func(log []byte) []byte { log[4096+5000] ^= 1; return log }, storage.ErrCorrupt, true},
		{"cut", func(log []byte) []byte { return log[:len(log)/2] }, storage.ErrCorrupt, true},
		{"emptied", func(log []byte) []byte { return log[:0] }, storage.ErrCorrupt, true},
		{"text", func([]byte) []byte { return []byte("notes of mine\n") }, storage.ErrCorrupt, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			for round := range 2 { // in the second one the first other name is taken
				path, want := crashedStore(t, 10)
				bad := row.spoil(readFile(t, logPath(path)))
				if os.Remove(logPath(path)); bad != nil {
					write(t, logPath(path), bad)
				}
				if round == 1 {
					write(t, logPath(path)+".damaged-1", []byte("another"))
				}
				refusedAs(t, path, nil, row.want)
				refusedAs(t, path, &Options{ReadOnly: true}, row.want)
				s := open(t, path, &Options{Repair: true})
				if got, _ := contents(t, s); len(got) < 10 || len(got) > len(want) || !s.Stats().Repaired {
					t.Errorf("repaired: %d records", len(got))
				}
				put(t, s, record(500))
				if err := s.Close(); err != nil {
					t.Fatal(err)
				}
				files := folder(t, filepath.Dir(path))
				name := filepath.Base(path) + "-lapse.damaged-" + string(rune('1'+round))
				if got, ok := files[name]; ok != row.named || ok && got != string(bad) {
					t.Errorf("%s: there %v, %d bytes; in all %d files", name, ok, len(got), len(files))
				}
				if round == 1 && files[filepath.Base(path)+"-lapse.damaged-1"] != "another" {
					t.Error("the name of another file was taken")
				}
				if s := open(t, path, nil); s.Stats().Repaired {
					t.Error("it is repaired again")
				}
			}
		})
	}
}

// TestLogsThatHoldNothing: a log that a crash left before its first group, or behind its last
// checkpoint, is removed.
func TestLogsThatHoldNothing(t *testing.T) {
	for _, row := range []struct {
		name string
		make func(t *testing.T, path string)
	}{
		{"empty", func(t *testing.T, path string) { write(t, logPath(path), nil) }},
		{"zero", func(t *testing.T, path string) { write(t, logPath(path), make([]byte, 4096)) }},
		{"zero, long", func(t *testing.T, path string) { write(t, logPath(path), make([]byte, 4096+256<<10)) }},
		{"made", func(t *testing.T, path string) {
			st := stateAt(t, path)
			l, err := log.Create(logPath(path), log.Parent{Log: st.Log, Merged: st.Merged}, nil)
			if err := errors.Join(err, l.Close()); err != nil {
				t.Fatal(err)
			}
		}},
		{"merged", func(t *testing.T, path string) { // a crash at the end of Close
			s := open(t, path, &Options{logAtOnce: true})
			put(t, s, record(1))
			if err := s.checkpoint(true); err != nil {
				t.Fatal(err)
			}
			s.tree.Turn.Take()
			s.journal.number = s.journal.log.Highest()
			err := s.checkpointNow(false)
			s.tree.Turn.Give()
			beside := readFile(t, logPath(path))
			if err := errors.Join(err, s.Close()); err != nil {
				t.Fatal(err)
			}
			write(t, logPath(path), beside)
		}},
	} {
		t.Run(row.name, func(t *testing.T) {
			path, _ := makeFile(t, 3)
			row.make(t, path)
			s := open(t, path, nil)
			if s.Stats().Repaired || s.Stats().Tokens != 3 {
				t.Errorf("%+v", s.Stats())
			}
			nothingBeside(t, path)
		})
	}
}

// stateAt returns the state of a closed file.
func stateAt(t *testing.T, path string) (st wire.State) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	db.View(func(btx *bbolt.Tx) error {
		st, _ = wire.DecodeState(btx.Bucket([]byte(tree.MetaBucket)).Get([]byte(stateKey)))
		return nil
	})
	return st
}

// TestLogOfANewerVersion is not touched, even with Repair.
func TestLogOfANewerVersion(t *testing.T) {
	path, _ := crashedStore(t, 3)
	newer := readFile(t, logPath(path))
	at := bytes.IndexByte(newer, '\n') + 1
	binary.BigEndian.PutUint16(newer[at:], binary.BigEndian.Uint16(newer[at:])+1)
	binary.BigEndian.PutUint32(newer[508:], crc32.Checksum(newer[:508], castagnoli))
	write(t, logPath(path), newer)
	for _, opts := range []Options{{}, {Repair: true}, {ReadOnly: true}} {
		refusedAs(t, path, &opts, ErrNewerSchema)
	}
}

// TestOnlyTheLog: without the file nothing is made.
func TestOnlyTheLog(t *testing.T) {
	path, _ := crashedStore(t, 3)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	refusedAs(t, path, nil, recovery.ErrFileMissing)
	refusedAs(t, path, &Options{Repair: true}, recovery.ErrFileMissing)
	if files := folder(t, filepath.Dir(path)); len(files) != 1 {
		t.Errorf("there are %d files", len(files))
	}
}

// TestOpeningCommitLost: a file whose tree does not yet name the log beside it, because the
// commit that was to say so did not come to the disk, opens with what the log has.
func TestOpeningCommitLost(t *testing.T) {
	path, _ := makeFileIn(t, quickDir(t), 3)
	before := readFile(t, path)
	s := open(t, path, &Options{logAtOnce: true})
	put(t, s, record(10))
	want, _ := contents(t, s)
	beside := readFile(t, logPath(path))
	s.Close()
	write(t, path, before)
	write(t, logPath(path), beside)
	if got, _ := contents(t, open(t, path, nil)); !cmp.Equal(want, got) {
		t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
	}
}
