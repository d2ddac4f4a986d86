package near

import (
	"context"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// The methods of this file pass on what the store behind does, past all copies.

// List implements storage.Store.
func (s *Store) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return s.store.List(ctx, f)
}

// Sweep implements storage.Store.
func (s *Store) Sweep(ctx context.Context, deadBefore time.Time, limit int) (int, error) {
	return s.store.Sweep(ctx, deadBefore, limit)
}

// Watch implements storage.Watcher.
func (s *Store) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	return s.store.(storage.Watcher).Watch(ctx)
}

// Gets implements storage.BatchGetter.
func (s *Store) Gets(ctx context.Context, ids []storage.ID) iter.Seq2[storage.Record, error] {
	return s.store.(storage.BatchGetter).Gets(ctx, ids)
}

// GetsFor implements storage.BatchGetter.
func (s *Store) GetsFor(store storage.Store) bool {
	g, ok := s.store.(storage.BatchGetter)
	return ok && g.GetsFor(s.store) && store == storage.Store(s)
}

// Page implements storage.Pager.
func (s *Store) Page(ctx context.Context, after string, n int) ([]storage.Record, string, error) {
	return s.store.(storage.Pager).Page(ctx, after, n)
}

// PageFor implements storage.Pager.
func (s *Store) PageFor(store storage.Store) bool {
	p, ok := s.store.(storage.Pager)
	return ok && p.PageFor(s.store) && store == storage.Store(s)
}

// SharedMarks implements storage.MarkSharer.
func (s *Store) SharedMarks() *storage.Marks { return s.marks }

// Time implements storage.Timekeeper. It is not ok where the store is no storage.Timekeeper.
func (s *Store) Time() (t time.Time, err time.Duration, ok bool) {
	if k, is := s.store.(storage.Timekeeper); is {
		return k.Time()
	}
	return t, err, false
}
