package bolt

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"hash/crc32"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/oldfile"
	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/storage"
)

// oldStore is a file of schema 2 as a program before this one left it: old-journal and
// old-halves when it was killed, with what it had written last in one half of its journal, or in
// both; old-closed when it was closed.
type oldStore struct {
	file  []byte
	holds map[storage.ID]storage.Record
	mark  storage.Mark
}

func readOldStore(t *testing.T, name string) *oldStore {
	t.Helper()
	packed, err := gzip.NewReader(bytes.NewReader(readFile(t, filepath.Join("testdata", name+".db.gz"))))
	if err != nil {
		t.Fatal(err)
	}
	o := &oldStore{holds: make(map[storage.ID]storage.Record)}
	if o.file, err = io.ReadAll(packed); err != nil {
		t.Fatal(err)
	}
	var said struct {
		Records                  map[string]string
		At, Since, Quiet, Behind time.Time
		Epoch                    uint32
	}
	if err := json.Unmarshal(readFile(t, filepath.Join("testdata", name+".json")), &said); err != nil {
		t.Fatal(err)
	}
	o.mark = storage.Mark{At: said.At, Epoch: said.Epoch, Since: said.Since, Quiet: said.Quiet, Behind: said.Behind}
	for id, value := range said.Records {
		key, err := hex.DecodeString(id)
		v, err2 := hex.DecodeString(value)
		r, err3 := decode(key, v)
		if err := errors.Join(err, err2, err3); err != nil {
			t.Fatal(err)
		}
		o.holds[r.ID] = r
	}
	return o
}

// frames returns where the frames of the file are that the tree does not have, in their order.
func (o *oldStore) frames(t *testing.T) (at []int) {
	t.Helper()
	f := bytes.NewReader(o.file)
	metas, err := boltfile.ReadMetas(f, f.Size())
	if err != nil {
		t.Fatal(err)
	}
	seq, err := boltfile.Get(f, metas.Newest, tree.MetaBucket, oldfile.SeqKey)
	if err != nil {
		t.Fatal(err)
	}
	begin := bytes.Index(o.file, []byte("halves")) + len("halves")
	name := o.file[begin : begin+16]
	numbers := make(map[uint64]int)
	first := binary.BigEndian.Uint64(seq) + 1
	for pos := (begin + 4096 - 1) / 4096 * 4096; pos+32 < len(o.file); pos += 4096 {
		if f, ok := oldFrame(o.file[pos:], name); ok && f >= first {
			numbers[f] = pos
		}
	}
	for n := first; numbers[n] != 0; n++ {
		at = append(at, numbers[n])
	}
	return at
}

// oldFrame returns the number of the frame of a journal of that name that b begins with.
func oldFrame(b, name []byte) (number uint64, ok bool) {
	n := int(binary.BigEndian.Uint32(b[4:]))
	if !bytes.Equal(b[8:24], name) || n > len(b)-32 || crc32.Checksum(b[4:32+n], castagnoli) != binary.BigEndian.Uint32(b) {
		return 0, false
	}
	return binary.BigEndian.Uint64(b[24:]), true
}

var oldStores = map[string]int{"old-closed": 0, "old-journal": 8, "old-halves": 65} // frames in the journal alone

// TestOldJournal: all that an earlier program had written is there, and the mark; from then on
// the file is one of today's, without a journal.
func TestOldJournal(t *testing.T) {
	for name, frames := range oldStores {
		o := readOldStore(t, name)
		if got := len(o.frames(t)); got != frames {
			t.Errorf("%s has %d frames; want %d", name, got, frames)
		}
		path := filepath.Join(t.TempDir(), "old.db")
		write(t, path, o.file)
		for n := range 3 {
			s := open(t, path, nil)
			if got, damaged := contents(t, s); !cmp.Equal(o.holds, got) || len(damaged) > 0 || s.Stats().Repaired {
				t.Fatalf("%s, opening %d (-want +got):\n%s", name, n, cmp.Diff(o.holds, got))
			}
			if got := s.Marks().Mark(); got != o.mark {
				t.Errorf("%s, opening %d: mark %+v; want %+v", name, n, got, o.mark)
			}
			if n == 1 {
				put(t, s, record(500))
				o.holds[record(500).ID] = record(500)
			}
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if schemaAt(t, path) != schema {
				t.Errorf("%s: schema %d", name, schemaAt(t, path))
			}
		}
		if bytes.Contains(readFile(t, path), []byte(oldfile.Bucket)) && bucketAt(t, path, oldfile.Bucket) {
			t.Errorf("%s still has a journal", name)
		}
	}
}

func bucketAt(t *testing.T, path, name string) (there bool) {
	t.Helper()
	foreign(t, path, nil, 1, func(btx *bbolt.Tx) error {
		there = btx.Bucket([]byte(name)) != nil
		return nil
	})
	return there
}

// TestDamagedOldJournal: without one of its frames but the last, and without the name, an old
// file is refused and unchanged; the last one was never acknowledged. Repair opens it.
func TestDamagedOldJournal(t *testing.T) {
	for name := range oldStores {
		o := readOldStore(t, name)
		at := o.frames(t)
		bad := map[string]int{"its name": bytes.Index(o.file, []byte("halves")) + len("halves") + 3}
		for _, n := range []int{0, len(at) / 2, len(at) - 2, len(at) - 1} {
			if n >= 0 && n < len(at) {
				bad[map[bool]string{true: "the last frame", false: "a frame"}[n == len(at)-1]] = at[n] + 32 + 9
			}
		}
		for what, pos := range bad {
			path := filepath.Join(t.TempDir(), "old.db")
			file := bytes.Clone(o.file)
			file[pos] ^= 4
			write(t, path, file)
			if what != "the last frame" {
				refusedAs(t, path, nil, storage.ErrCorrupt)
			}
			s := open(t, path, &Options{Repair: true})
			got, _ := contents(t, s)
			for id, r := range got {
				if want, ok := o.holds[id]; name == "old-closed" && (!ok || !want.Equal(r)) {
					t.Errorf("%s, %s: %+v", name, what, r)
				}
			}
			if what == "the last frame" && s.Stats().Repaired {
				t.Errorf("%s: repaired without its last frame", name)
			}
			put(t, s, record(600))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if again := open(t, path, nil); again.Stats().Tokens != len(got)+1 {
				t.Errorf("%s, %s: %d tokens, and then %d", name, what, len(got)+1, again.Stats().Tokens)
			}
		}
	}
}

// TestBringingOverFails: before its commit an old file is what it was, to the programs that
// wrote it, too; after it, it is one of today's. At each of both all is there.
func TestBringingOverFails(t *testing.T) {
	for name := range oldStores {
		for fails := range 2 {
			for _, happens := range []bool{false, true} {
				o := readOldStore(t, name)
				path := filepath.Join(t.TempDir(), "old.db")
				write(t, path, o.file)
				var crashes [][]byte
				n := 0
				err := settleWith(t, path, func(btx *bbolt.Tx) error {
					if n++; n != fails+1 {
						return btx.Commit()
					}
					if happens {
						err := btx.Commit()
						crashes = append(crashes, readFile(t, path))
						return errors.Join(err, errDisk)
					}
					return errDisk
				})
				if !errors.Is(err, errDisk) {
					t.Fatalf("%s: %v; want that of the disk", name, err)
				}
				old := fails == 0 && !happens
				for _, file := range append(crashes, readFile(t, path), withMetasOf(readFile(t, path), o.file)) {
					crash := filepath.Join(t.TempDir(), "crash.db")
					write(t, crash, file)
					if old != (schemaAt(t, crash) <= tree.LastOldSchema) && !bytes.Equal(file[:2*pageSize], o.file[:2*pageSize]) {
						t.Errorf("%s, commit %d fails, happens %v: schema %d", name, fails, happens, schemaAt(t, crash))
					}
					s := open(t, crash, nil)
					if got, _ := contents(t, s); !cmp.Equal(o.holds, got) || s.Marks().Mark() != o.mark {
						t.Errorf("%s, commit %d fails, happens %v: %+v (-want +got):\n%s", name, fails, happens, s.Marks().Mark(), cmp.Diff(o.holds, got))
					}
					s.Close()
				}
			}
		}
	}
}

// withMetasOf returns the file with the meta pages of old: all but those have come to the disk.
func withMetasOf(file, old []byte) []byte {
	file = bytes.Clone(file)
	copy(file, old[:2*pageSize])
	return file
}

// settleWith opens the file at path as Open does, with commits of its own, and closes it.
func settleWith(t *testing.T, path string, commit func(*bbolt.Tx) error) error {
	t.Helper()
	if !localfile.LocksEarly {
		t.Skip("the lock comes with bbolt")
	}
	f, err := localfile.OpenLocked(path, false, time.Second)
	if err != nil {
		t.Fatal(err)
	}
	tr := tree.New(f, path)
	tr.CommitTx = commit
	rec, err := recovery.Load(tr, recovery.Options{MaxTokens: 1000})
	if err == nil && rec.Log != nil {
		err = rec.Log.Close()
	}
	return errors.Join(err, tr.Release())
}
