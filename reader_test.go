package lapse

import (
	"context"
	"errors"
	"path/filepath"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// strictMemory and strictBolt are what somebody may build around a store: all of its
// methods, but for a Get of their own.
type strictMemory struct{ *memory.Store }

func (strictMemory) Get(context.Context, ID) (storage.Record, error) {
	return storage.Record{}, storage.ErrUnavailable
}

type strictBolt struct{ *bolt.Store }

func (*strictBolt) Get(context.Context, ID) (storage.Record, error) {
	return storage.Record{}, storage.ErrUnavailable
}

// TestReader: a check goes past Get only where it would say the same.
func TestReader(t *testing.T) {
	db, err := bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	mem := memory.New()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		name          string
		store, around storage.Store
	}{
		{"memory", mem, strictMemory{mem}},
		{"bolt", db, &strictBolt{db}},
	} {
		m, _ := managerOver(t, row.store, Config{})
		i := issueTo(t, m, Grant{Subject: "ana"})
		if table.ReaderOf(row.store).Table() == nil {
			t.Errorf("%s has no Reader", row.name)
		}
		if tok, err := m.Authenticate(t.Context(), i.Bearer); err != nil || tok.ID != i.ID {
			t.Errorf("%s: %+v, %v", row.name, tok, err)
		}
		if tok, err := m.Authenticate(ended, i.Bearer); !errors.Is(err, context.Canceled) || tok != (Token{}) {
			t.Errorf("%s, the context has ended: %+v, %v; want context.Canceled", row.name, tok, err)
		}
		around, _ := managerOver(t, row.around, Config{})
		if tok, err := around.Authenticate(t.Context(), i.Bearer); !errors.Is(err, ErrUnavailable) || tok != (Token{}) {
			t.Errorf("%s in a store whose Get fails: %+v, %v; want ErrUnavailable", row.name, tok, err)
		}
		if err := row.store.Close(); err != nil {
			t.Errorf("%s: Close: %v", row.name, err)
		}
		if tok, err := m.Authenticate(t.Context(), i.Bearer); !errors.Is(err, ErrClosed) || tok != (Token{}) {
			t.Errorf("%s, closed: %+v, %v; want ErrClosed", row.name, tok, err)
		}
	}
}
