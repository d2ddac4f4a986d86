package bolt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestDamagedMarkDenies: whatever becomes of the mark, it is the one that was written, or
// known to be lost, and then the next Manager ends what the store holds: its epoch is
// above that of every record. Nothing of a file in order is lost.
func TestDamagedMarkDenies(t *testing.T) {
	t.Parallel()
	path, want := markedFile(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	at := bytes.Index(good, append(bytes.Clone(markKey), value(t, path)...))
	if at < 0 {
		t.Fatal("there is no mark in the file")
	}
	lost, refused, inKey := 0, 0, 0
	bits := flipped(chance(drawn(t), 0), []int{len(markKey), 8, 4, 8, 8, 8, sumLen}) // see markLen
	other := filepath.Join(quickDir(t), "tokens.db")
	for _, bit := range bits {
		if bit < 8*len(markKey) {
			inKey++
		}
		bad := bytes.Clone(good)
		bad[at+bit/8] ^= 1 << (bit % 8)
		if err := os.WriteFile(other, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(other, nil)
		if errors.Is(err, storage.ErrCorrupt) { // the key is out of order
			refused++
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		switch got := s.Marks().Mark(); {
		case got.Epoch == want.Epoch+1 && got.Since.IsZero():
			lost++
		default:
			t.Errorf("bit %d: %+v", bit, got)
		}
		if st := s.Stats(); st.Tokens != 2 || st.Damaged != 0 {
			t.Errorf("bit %d: %+v", bit, st)
		}
		s.Close()
	}
	if lost < len(bits)-inKey || refused > inKey {
		t.Errorf("of %d damages %d were found, and %d made the file one of damaged order", len(bits), lost, refused)
	}
	t.Logf("%d of %d bits of the mark and its key", len(bits), 8*(len(markKey)+markLen))
}

// markedFile returns a store in its third epoch, with a record of the second and one of
// the third, and its mark.
func markedFile(t *testing.T) (path string, m storage.Mark) {
	t.Helper()
	path, _ = makeFile(t, 0)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for epoch := range uint32(2) {
		s.Marks().Restart(markInstant.Add(time.Duration(epoch)*time.Hour), markInstant, epoch)
		r := record(int(epoch))
		r.Epoch = epoch + 1
		put(t, s, r)
	}
	m = s.Marks().Mark()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	return path, m
}

// value returns the value of the mark in the file at path.
func value(t *testing.T, path string) (v []byte) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, &bbolt.Options{ReadOnly: true})
	if err != nil {
		t.Fatal(err)
	}
	err = db.View(func(btx *bbolt.Tx) error {
		v = bytes.Clone(btx.Bucket(metaBucket).Get(markKey))
		return nil
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	return v
}

// editLast has the last transaction of the store at path make a change of its own.
func editLast(t *testing.T, path string, change func(meta *bbolt.Bucket) error) {
	t.Helper()
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s.log.tree.commitTx = func(btx *bbolt.Tx) error {
		return errors.Join(change(btx.Bucket(metaBucket)), btx.Commit())
	}
	put(t, s, record(5))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// TestLostMark: a mark that is gone, cut, or older than a record.
func TestLostMark(t *testing.T) {
	for name, change := range map[string]func(meta *bbolt.Bucket) error{
		"gone": func(meta *bbolt.Bucket) error { return meta.Delete(markKey) },
		"gone, and its trace": func(meta *bbolt.Bucket) error {
			return errors.Join(meta.Delete(markKey), meta.SetSequence(0))
		},
		"cut":   func(meta *bbolt.Bucket) error { return meta.Put(markKey, meta.Get(markKey)[:markLen-1]) },
		"empty": func(meta *bbolt.Bucket) error { return meta.Put(markKey, nil) },
		"of an earlier epoch": func(meta *bbolt.Bucket) error {
			return putMark(meta.Tx(), encodeMark(storage.Mark{At: markInstant, Epoch: 1, Since: markInstant}))
		},
	} {
		t.Run(name, func(t *testing.T) {
			path, want := markedFile(t)
			editLast(t, path, change)
			s, err := Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if got := s.Marks().Mark(); got != (storage.Mark{Epoch: want.Epoch + 1}) {
				t.Errorf("%+v; want epoch %d, and nothing else", got, want.Epoch+1)
			}
		})
	}
}

// TestLostFirstMark: that there was one is known, though no record says so.
func TestLostFirstMark(t *testing.T) {
	path, _ := makeFile(t, 1)
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	ahead(s, 0)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	editLast(t, path, func(meta *bbolt.Bucket) error { return meta.Delete(markKey) })
	if s, err = Open(path, nil); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if got := s.Marks().Mark(); got != (storage.Mark{Epoch: 1}) {
		t.Errorf("%+v; want epoch 1, and nothing else", got)
	}
}

// TestMarkAndALostMeta: the page before the last has the mark of the commit before, or is
// known to be older than a record.
func TestMarkAndALostMeta(t *testing.T) {
	path, want := markedFile(t)
	good, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for _, at := range []int{0, os.Getpagesize()} {
		bad := bytes.Clone(good)
		clear(bad[at : at+os.Getpagesize()])
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		s, err := Open(path, &Options{Repair: true})
		if err != nil {
			t.Fatal(err)
		}
		got := s.Marks().Mark()
		if got.Epoch < want.Epoch-1 || got.Epoch > want.Epoch+1 || got.At.After(want.At) {
			t.Errorf("page at %d lost: %+v; before it was %+v", at, got, want)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
