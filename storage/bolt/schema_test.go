package bolt

import (
	"path/filepath"
	"testing"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// schemaIn returns the schema of the file of s once all is merged.
func schemaIn(t *testing.T, s *Store) (n int) {
	t.Helper()
	merged(t, s, func(btx *bbolt.Tx) (err error) {
		n, err = readSchema(btx)
		return err
	})
	return n
}

// rotated returns record n with what earlier programs know nothing of.
func rotated(n int) storage.Record {
	r := record(n)
	r.Generation, r.RotatedAt = 1, r.IssuedAt
	return r
}

// TestSchemaRises with the first record of version 3, however it comes to be written, and
// with no other; it stays where it is then, in the file, in a copy and in what Compact
// puts in its place.
func TestSchemaRises(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tokens.db")
	s := open(t, path, nil)
	put(t, s, record(1), ended(record(2)))
	touch(t, s, record(1), storage.Use{At: record(1).ExpiresAt})
	if err := s.flush(); err != nil {
		t.Fatal(err)
	}
	if got := schemaIn(t, s); got != firstSchema {
		t.Errorf("with plain records alone the schema is %d", got)
	}
	commits := s.log.tree.tx
	put(t, s, rotated(3))
	if got := s.log.tree.tx - commits; got != 1 {
		t.Errorf("the first record of version 3 took %d transactions; want 1", got)
	}
	commits = s.log.tree.tx
	put(t, s, rotated(4), record(5))
	if got := s.log.tree.tx - commits; got != 0 {
		t.Errorf("the second one took %d transactions; want none", got)
	}
	check := func(what string, s *Store) {
		t.Helper()
		if got := schemaIn(t, s); got != tiedSchema || s.log.schema != got {
			t.Errorf("%s: schema %d, and %d is believed; want %d", what, got, s.log.schema, tiedSchema)
		}
		for _, n := range []int{3, 4} {
			if got := shown(t, s, record(n).ID); !got.Equal(rotated(n)) {
				t.Errorf("%s: %+v; want %+v", what, got, rotated(n))
			}
		}
	}
	check("at once", s)
	copied := openCopy(t, backup(t, s))
	check("copy", copied)
	if err := s.Compact(t.Context()); err != nil {
		t.Fatal(err)
	}
	check("compacted", s)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	check("reopened", open(t, path, nil))
}
