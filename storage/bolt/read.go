package bolt

import (
	"context"
	"errors"
	"fmt"
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

// Reader returns a reader by which a Manager gets records without the copies that Get makes. The
// reader is nil unless self is s: a store that wraps s may have a Get of its own.
func (s *Store) Reader(self storage.Store) *table.Reader {
	if self != storage.Store(s) {
		return nil
	}
	return &s.reader
}

// isDamaged reports whether the record of id was damaged when the file was opened.
func (s *Store) isDamaged(id storage.ID) bool {
	_, ok := s.damaged[id]
	return ok
}

var errDamaged = fmt.Errorf("%w: a record: it did not decode when the file was opened; restore the file from a backup, or expire what it was for", storage.ErrCorrupt)

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

// Gets implements storage.BatchGetter, from memory.
func (s *Store) Gets(ctx context.Context, ids []storage.ID) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for _, id := range ids {
			r, err := s.Get(ctx, id)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			damaged := errors.Is(err, storage.ErrCorrupt)
			if damaged {
				r.ID = id
			}
			if !yield(r, err) || err != nil && !damaged {
				return
			}
		}
	}
}

// GetsFor implements storage.BatchGetter.
func (s *Store) GetsFor(store storage.Store) bool { return store == storage.Store(s) }

// Page implements storage.Pager, from memory.
func (s *Store) Page(ctx context.Context, after string, n int) ([]storage.Record, string, error) {
	if err := s.ready(ctx); err != nil {
		return nil, "", err
	}
	recs, next, err := s.table.Page(after, n, slices.SortedFunc(maps.Keys(s.damaged), storage.ID.Compare))
	if errors.Is(err, storage.ErrCorrupt) {
		err = errDamaged
	}
	return recs, next, err
}

// PageFor implements storage.Pager.
func (s *Store) PageFor(store storage.Store) bool { return store == storage.Store(s) }

// selected returns the IDs of the records that may match f, in order, and, for the zero filter,
// those of damaged records.
func (s *Store) selected(f storage.Filter) []storage.ID {
	ids := s.table.Select(f)
	if f == (storage.Filter{}) && len(s.damaged) > 0 {
		ids = slices.AppendSeq(ids, maps.Keys(s.damaged))
		slices.SortFunc(ids, storage.ID.Compare)
	}
	return ids
}

// Watch implements storage.Watcher. It also tells an end whose outcome is unknown, because the
// token counts as ended in this process.
func (s *Store) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return s.feed.Watch(ctx)
}
