package bolt

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/internal/sample"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// past is a store without a log as its file was after each transaction.
type past struct {
	files [][]byte
	holds []map[storage.ID]storage.Record // nil after the first transaction of a group
}

// makePast has groups put, change, end and delete records.
func makePast(t *testing.T) *past {
	t.Helper()
	h := new(past)
	path, _ := makeFileIn(t, quickDir(t), 40)
	s := open(t, path, &Options{NoLog: true})
	h.note(t, s, path)
	s.tree.Turn.Take()
	s.tree.CommitTx = func(btx *bbolt.Tx) error {
		err := btx.Commit()
		h.files, h.holds = append(h.files, readFile(t, path)), append(h.holds, nil)
		return err
	}
	s.tree.Turn.Give()
	for n := range 8 {
		renamed := record(10 + n)
		renamed.Name = "renamed"
		for _, change := range []func() error{
			func() error { return putting(s, record(100+n)) },
			func() error { return putting(s, ended(record(n))) },
			func() error { return putting(s, renamed) },
			func() error { return deleting(s, record(39-n)) },
		} {
			if err := change(); err != nil {
				t.Fatal(err)
			}
			h.files, h.holds = h.files[:len(h.files)-1], h.holds[:len(h.holds)-1]
			h.note(t, s, path)
		}
	}
	return h
}

func (h *past) note(t *testing.T, s *Store, path string) {
	t.Helper()
	holds, _ := contents(t, s)
	h.files, h.holds = append(h.files, readFile(t, path)), append(h.holds, holds)
}

// lost returns the file after transaction n, one of its pages being what it was after
// transaction before, for each page for which that is another file.
func (h *past) lost(n, before int) (files [][]byte) {
	file, old := h.files[n], h.files[before]
	for at := 0; at+pageSize <= min(len(file), len(old)); at += pageSize {
		if !bytes.Equal(file[at:at+pageSize], old[at:at+pageSize]) {
			bad := bytes.Clone(file)
			copy(bad[at:], old[at:at+pageSize])
			files = append(files, bad)
		}
	}
	return files
}

// TestLostPages: a file of which one page is as it was one to eight transactions before is
// refused, or holds everything. With Repair it opens, unless bbolt could not use it.
func TestLostPages(t *testing.T) {
	h := makePast(t)
	dir := quickDir(t)
	path := filepath.Join(dir, "tokens.db")
	refused, opened, repaired := 0, 0, 0
	for n := range h.files {
		if h.holds[n] == nil {
			continue
		}
		for back := 1; back <= min(n, 8); back++ {
			if !sample.Every(8, n+back) {
				continue
			}
			for _, file := range h.lost(n, n-back) {
				if err := os.WriteFile(path, file, 0o600); err != nil {
					t.Fatal(err)
				}
				s, err := Open(path, &Options{NoLog: true})
				if err == nil {
					opened++
					if got, damaged := contents(t, s); !cmp.Equal(h.holds[n], got) || len(damaged) > 0 {
						t.Fatalf("transaction %d, page of %d before (-want +got):\n%s", n, back, cmp.Diff(h.holds[n], got))
					}
					s.Close()
					continue
				}
				if !errors.Is(err, storage.ErrCorrupt) {
					t.Fatalf("transaction %d: %v; want ErrCorrupt", n, err)
				}
				refused++
				if !bytes.Equal(file, readFile(t, path)) {
					t.Fatal("it was refused and changed")
				}
				if s, err = Open(path, &Options{NoLog: true, Repair: true}); err == nil {
					repaired++
					holds, _ := contents(t, s)
					if err := errors.Join(putting(s, record(500)), s.Close()); err != nil {
						t.Fatal(err)
					}
					holds[record(500).ID] = record(500)
					again := open(t, path, nil)
					if got, _ := contents(t, again); !cmp.Equal(holds, got) {
						t.Fatalf("repaired (-want +got):\n%s", cmp.Diff(holds, got))
					}
					again.Close()
				} else if !errors.Is(err, storage.ErrCorrupt) {
					t.Fatalf("with Repair: %v", err)
				}
			}
		}
	}
	t.Logf("%d opened, %d refused, of which Repair opened %d", opened, refused, repaired)
	if opened == 0 || repaired == 0 || refused < opened {
		t.Error("the loss is not what it should be")
	}
}

// TestJudgeEqualMetaPages: a file whose older meta page was copied over the newest one, as a tool does it
// after two commits of another program, opens.
func TestJudgeEqualMetaPages(t *testing.T) {
	path, _ := makeFileIn(t, quickDir(t), 5)
	foreign(t, path, &bbolt.Options{NoFreelistSync: true}, 2, otherBucket)
	file := readFile(t, path)
	at := newest(file)
	copy(file[at+pageHeader:at+pageHeader+metaLen], file[pageSize-at+pageHeader:])
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	if got, _ := contents(t, open(t, path, nil)); len(got) != 5 {
		t.Errorf("%d records; want 5", len(got))
	}
}

// TestJudge: which numbers of transactions in the states that the two meta pages lead to are
// those of a store in order.
func TestJudge(t *testing.T) {
	restate := func(t *testing.T, btx *bbolt.Tx, change func(st *wire.State)) error {
		b := btx.Bucket([]byte(tree.MetaBucket))
		st, ok := wire.DecodeState(b.Get([]byte(stateKey)))
		if !ok {
			t.Fatal("no state")
		}
		change(&st)
		return b.Put([]byte(stateKey), st.Encode())
	}
	tx := func(behind int) func(t *testing.T, btx *bbolt.Tx) error {
		return func(t *testing.T, btx *bbolt.Tx) error {
			return restate(t, btx, func(st *wire.State) { st.Tx = uint64(btx.ID() - behind) })
		}
	}
	nothing := func(*testing.T, *bbolt.Tx) error { return nil }
	for _, row := range []struct {
		name         string
		older, newer func(*testing.T, *bbolt.Tx) error
		noList       bool // of free pages
		want         error
	}{
		{"as lapse writes", tx(-1), nothing, true, nil},
		{"another program's last, without a list", tx(0), nothing, true, nil},
		{"the page of both is from before", tx(1), nothing, true, recovery.ErrStale},
		{"another program has committed twice", tx(1), nothing, false, nil},
		{"as earlier versions wrote", tx(0), tx(0), false, nil},
		{"another program's last", tx(0), nothing, false, nil},
		{"another program's both", nothing, nothing, false, nil},
		{"another program's first", nothing, tx(0), false, nil},
		{"copied record by record", tx(-100), tx(-100), false, nil},
		{"the state is from before", tx(0), tx(2), false, recovery.ErrStale},
		{"the state is from long before", tx(1), tx(7), false, recovery.ErrStale},
		{"the older state is lost", func(_ *testing.T, btx *bbolt.Tx) error {
			return btx.Bucket([]byte(tree.MetaBucket)).Put([]byte(stateKey), []byte("?"))
		}, func(t *testing.T, btx *bbolt.Tx) error {
			st := wire.State{Tx: uint64(btx.ID()) - 2}
			for n := range 5 {
				r := record(n)
				v, _ := encode(&r)
				st.Sum.Add(r.ID[:], v)
			}
			return btx.Bucket([]byte(tree.MetaBucket)).Put([]byte(stateKey), st.Encode())
		}, false, recovery.ErrStale},
		{"the state is no state", tx(0), func(_ *testing.T, btx *bbolt.Tx) error {
			return btx.Bucket([]byte(tree.MetaBucket)).Put([]byte(stateKey), make([]byte, 69))
		}, false, storage.ErrCorrupt},
		{"there is no state", tx(0), func(_ *testing.T, btx *bbolt.Tx) error {
			return btx.Bucket([]byte(tree.MetaBucket)).Delete([]byte(stateKey))
		}, false, storage.ErrCorrupt},
		{"other records", tx(0), func(t *testing.T, btx *bbolt.Tx) error {
			return errors.Join(tx(0)(t, btx), changing((*bbolt.Bucket).Delete, record(3).ID)(btx))
		}, false, recovery.ErrChanged},
		{"another number of records", tx(0), func(t *testing.T, btx *bbolt.Tx) error {
			return restate(t, btx, func(st *wire.State) { st.Tx = uint64(btx.ID()); st.Sum.Records++ })
		}, false, recovery.ErrChanged},
	} {
		t.Run(row.name, func(t *testing.T) {
			path, _ := makeFileIn(t, quickDir(t), 5)
			for _, commit := range []func(*testing.T, *bbolt.Tx) error{row.older, row.newer} {
				foreign(t, path, &bbolt.Options{NoFreelistSync: row.noList}, 1, func(btx *bbolt.Tx) error { return commit(t, btx) })
			}
			if row.want != nil {
				refusedAs(t, path, nil, row.want)
			}
			s := open(t, path, &Options{Repair: true})
			if s.Stats().Repaired != (row.want != nil) {
				t.Errorf("repaired: %v", s.Stats().Repaired)
			}
			want, _ := contents(t, s)
			put(t, s, record(9))
			want[record(9).ID] = record(9)
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			if got, _ := contents(t, open(t, path, nil)); !cmp.Equal(want, got) {
				t.Errorf("(-want +got):\n%s", cmp.Diff(want, got))
			}
		})
	}
}

// TestCrashBetweenTransactions: the file after the first transaction of a group is whole, and
// so is one whose last transaction is missing.
func TestCrashBetweenTransactions(t *testing.T) {
	h := makePast(t)
	path := filepath.Join(quickDir(t), "tokens.db")
	for n, file := range h.files {
		if h.holds[n] != nil {
			continue
		}
		if err := os.WriteFile(path, file, 0o600); err != nil {
			t.Fatal(err)
		}
		s := open(t, path, nil)
		if got, _ := contents(t, s); !cmp.Equal(h.holds[n+1], got) || s.Stats().Repaired {
			t.Fatalf("transaction %d (-want +got):\n%s", n, cmp.Diff(h.holds[n+1], got))
		}
		s.Close()
	}
}
