package bolt

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, id storage.ID) (r storage.Record, err error) {
	err = s.view(ctx, func(t *tokens) error {
		r, err = t.get(id)
		return err
	})
	return r, err
}

// view runs fn, which must call nothing but its tokens, in a read transaction.
func (s *Store) view(ctx context.Context, fn func(*tokens) error) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	btx, err := s.begin(false)
	if err != nil {
		return err
	}
	defer s.guardEdge(btx.Rollback)
	t, err := tokensOf(btx)
	if err != nil {
		return err
	}
	return guard(func() error { return fn(t) })
}

// listPage is how many records a read transaction of List takes: none stays open
// while the loop body runs, for an open one keeps the file growing.
const listPage = 128

// List implements storage.Store.
func (s *Store) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for page, err := range s.pages(ctx, f) {
			if err != nil {
				yield(storage.Record{}, err)
				return
			}
			for _, e := range page {
				if e.err == nil && !f.Match(e.record) {
					continue
				}
				if !yield(e.record, e.err) {
					return
				}
			}
		}
	}
}

// entry is one record, or what is known of a damaged one.
type entry struct {
	record storage.Record
	err    error
}

// pages yields what f may select, page by page, each read in a transaction that
// has ended by then.
func (s *Store) pages(ctx context.Context, f storage.Filter) iter.Seq2[[]entry, error] {
	if f.Subject == "" && f.ExpiresBefore.IsZero() {
		return s.everything(ctx)
	}
	return func(yield func([]entry, error) bool) {
		if err := s.ready(ctx); err != nil {
			yield(nil, err)
			return
		}
		for ids := range slices.Chunk(s.selected(f), listPage) {
			var page []entry
			err := s.view(ctx, func(t *tokens) error {
				for _, id := range ids {
					if r, err := t.get(id); !errors.Is(err, storage.ErrNotFound) {
						r.ID = id
						page = append(page, entry{r, err})
					}
				}
				return nil
			})
			if !yield(page, err) {
				return
			}
		}
	}
}

// selected returns the IDs of what f may select, in order.
func (s *Store) selected(f storage.Filter) []storage.ID {
	s.mu.RLock()
	defer s.mu.RUnlock()
	if f.Subject != "" {
		return slices.Clone(s.index.Subject(f.Subject))
	}
	return s.index.Before(f.ExpiresBefore)
}

// everything yields all records in the order of their keys.
func (s *Store) everything(ctx context.Context) iter.Seq2[[]entry, error] {
	return func(yield func([]entry, error) bool) {
		var next []byte // the first key not yet read, or one before it
		for {
			var page []entry
			more := false
			err := s.view(ctx, func(t *tokens) error {
				cursor := t.bucket.Cursor()
				k, v := cursor.Seek(next)
				for ; k != nil && len(page) < listPage; k, v = cursor.Next() {
					r, err := decode(k, v)
					page = append(page, entry{r, err})
				}
				more, next = k != nil, slices.Clone(k)
				return nil
			})
			if !yield(page, err) || err != nil || !more {
				return
			}
		}
	}
}
