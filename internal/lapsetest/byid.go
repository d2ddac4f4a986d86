package lapsetest

import (
	"context"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// ByID is a store in memory that is a storage.IDUpdater, as stores on other machines are.
type ByID struct{ *memory.Store }

// NewByID returns an empty store.
func NewByID() ByID { return ByID{memory.New()} }

// UpdateID implements storage.IDUpdater.
func (s ByID) UpdateID(ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
	r, err := s.Get(ctx, id)
	if err != nil {
		return err
	}
	return s.Update(ctx, r.Subject, fn)
}

// UpdateIDFor implements storage.IDUpdater.
func (s ByID) UpdateIDFor(store storage.Store) bool { return store == storage.Store(s) }
