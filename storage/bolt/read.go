package bolt

import (
	"context"
	"errors"
	"iter"
	"maps"
	"slices"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/storage"
)

// Get implements storage.Store, from memory.
func (s *Store) Get(ctx context.Context, id storage.ID) (r storage.Record, err error) {
	if err := s.ready(ctx); err != nil {
		return r, err
	}
	if s.table.Get(id, &r) {
		return r, nil
	}
	if s.isDamaged(id) {
		return r, errDamaged
	}
	return r, storage.ErrNotFound
}

// Reader is for a Manager: it gets a record by it without the copies that Get makes. It
// is nil unless self is s.
func (s *Store) Reader(self storage.Store) *table.Reader {
	if self != storage.Store(s) {
		return nil
	}
	return &s.reader
}

var errDamaged = corrupt("it did not decode when the file was opened; restore the file from a backup, or expire what it was for")

// List implements storage.Store, from memory. A filter selects no damaged record.
func (s *Store) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		if err := s.ready(ctx); err != nil {
			yield(storage.Record{}, err)
			return
		}
		for _, id := range s.selected(f) {
			r, err := s.Get(ctx, id)
			damaged := errors.Is(err, storage.ErrCorrupt)
			switch {
			case errors.Is(err, storage.ErrNotFound), err == nil && !f.Match(r):
				continue
			case damaged:
				r.ID = id
			}
			if !yield(r, err) || err != nil && !damaged {
				return
			}
		}
	}
}

func (s *Store) selected(f storage.Filter) []storage.ID {
	ids := s.table.Select(f)
	if damaged := *s.damaged.Load(); f == (storage.Filter{}) && len(damaged) > 0 {
		ids = slices.AppendSeq(ids, maps.Keys(damaged))
		slices.SortFunc(ids, storage.ID.Compare)
	}
	return ids
}

// Watch implements storage.Watcher. An end whose outcome is unknown counts as ended
// here, and is told.
func (s *Store) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return s.stage.Feed.Watch(ctx)
}
