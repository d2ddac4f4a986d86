package table

import (
	"context"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestReader: a Reader says what the table says while it may, and nothing otherwise.
func TestReader(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	full := New()
	want := record(1, "ana")
	full.Put(&want, storage.Use{})
	for _, row := range []struct {
		name  string
		table *Table
		ctx   context.Context
		id    storage.ID
		found bool
	}{
		{"there", full, t.Context(), id(1), true},
		{"not there", full, t.Context(), id(2), false},
		{"the context has ended", full, ended, id(1), false},
		{"closed", nil, t.Context(), id(1), false},
	} {
		var r Reader
		before := record(7, "bob")
		got := before
		if r.Open(full); row.table == nil {
			r.Close()
		}
		found := r.Get(row.ctx, row.id, &got)
		if found != row.found || found && !got.Equal(want) || !found && !got.Equal(before) || r.Table() != row.table {
			t.Errorf("%s: %v, %+v", row.name, found, got)
		}
	}
}

// readableStore has a Reader which it gives to whomever it says.
type readableStore struct {
	storage.Store
	reader Reader
}

func (s *readableStore) Reader(self storage.Store) *Reader {
	if self != storage.Store(s) {
		return nil
	}
	return &s.reader
}

// TestReaderOf: who has none, and who is around a store that has one, gets a closed one.
func TestReaderOf(t *testing.T) {
	s := new(readableStore)
	if ReaderOf(s) != &s.reader {
		t.Error("a store's Reader is not found")
	}
	s.reader.Open(New())
	for name, store := range map[string]storage.Store{
		"none": struct{ storage.Store }{s}, "around one": struct{ *readableStore }{s},
	} {
		if ReaderOf(store).Table() != nil {
			t.Errorf("%s: it is that of the store inside", name)
		}
	}
}
