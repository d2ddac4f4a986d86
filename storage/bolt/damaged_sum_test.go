package bolt

import (
	"errors"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// TestDamageHidesNoOlderRecord: a damaged record is denied and the others go on, but not where
// another one is older than what was written last. Then a token that was ended could live again.
func TestDamageHidesNoOlderRecord(t *testing.T) {
	flip := func(at int) func(t *testing.T, tokens *bbolt.Bucket) {
		return func(t *testing.T, tokens *bbolt.Bucket) {
			id := record(3).ID
			value := append([]byte(nil), tokens.Get(id[:])...)
			value[(len(value)+at)%len(value)] ^= 1
			if err := tokens.Put(id[:], value); err != nil {
				t.Fatal(err)
			}
		}
	}
	older := func(t *testing.T, tokens *bbolt.Bucket) {
		r := record(5)
		value, err := wire.Encode(nil, &r)
		if err == nil {
			err = tokens.Put(r.ID[:], value)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	type change = func(*testing.T, *bbolt.Bucket)
	for name, row := range map[string]struct {
		changes []change
		damaged int
		want    error
	}{
		"nothing":                          {nil, 0, nil},
		"a bit of a record":                {[]change{flip(7)}, 1, nil},
		"a bit of its checksum":            {[]change{flip(-1)}, 1, nil},
		"an older record":                  {[]change{older}, 0, storage.ErrCorrupt},
		"a bit, and an older record":       {[]change{flip(7), older}, 0, storage.ErrCorrupt},
		"a checksum, and an older record":  {[]change{flip(-1), older}, 0, storage.ErrCorrupt},
		"a bit and the checksum of one":    {[]change{flip(7), flip(-1)}, 0, storage.ErrCorrupt},
		"a bit there and back: the record": {[]change{flip(7), flip(7)}, 0, nil},
	} {
		t.Run(name, func(t *testing.T) {
			path, _ := makeFile(t, 8)
			s, err := Open(path, nil)
			if err != nil {
				t.Fatal(err)
			}
			put(t, s, ended(record(5)))
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			changeTokens(t, path, func(tokens *bbolt.Bucket) {
				for _, change := range row.changes {
					change(t, tokens)
				}
			})
			if s, err = Open(path, nil); !errors.Is(err, row.want) {
				t.Fatalf("Open: %v; want %v", err, row.want)
			}
			if row.want != nil {
				s, err = Open(path, &Options{Repair: true})
			}
			if err != nil {
				t.Fatal(err)
			}
			defer s.Close()
			if st := s.Stats(); st.Repaired != (row.want != nil) || row.want == nil && st.Damaged != row.damaged {
				t.Errorf("Stats: %+v; want %d damaged, repaired %v", st, row.damaged, row.want != nil)
			}
		})
	}
}

// changeTokens has another program change the records of the file at path.
func changeTokens(t *testing.T, path string, change func(tokens *bbolt.Bucket)) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err == nil {
		err = errors.Join(db.Update(func(btx *bbolt.Tx) error {
			change(btx.Bucket([]byte(tree.TokensBucket)))
			return nil
		}), db.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}
