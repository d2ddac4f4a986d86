// Package memory keeps tokens in this process and nowhere else: for tests, and
// for programs whose tokens may end with them. It is also the reference
// implementation of the storage contract, and the shortest one to read.
package memory

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"slices"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/internal/index"
	"github.com/seed-55daa01a/lapse/storage"
)

var _ storage.Store = (*Store)(nil)

// Store is a storage.Store in memory. It is safe for concurrent use. Nothing in
// it outlives the process, so durable means here: until Close.
type Store struct {
	turn chan struct{} // one Update at a time; a channel, so that waiting can be given up

	mu      sync.RWMutex // guards what follows
	records map[storage.ID]*storage.Record
	index   index.Index
	closed  bool
	tx      tx // the one that runs, if one does
}

// New returns an empty store.
func New() *Store {
	s := &Store{turn: make(chan struct{}, 1), records: make(map[storage.ID]*storage.Record)}
	s.tx.store, s.tx.records = s, s.tx.each
	return s
}

// Format writes the name of the type and nothing of what it holds: the map of
// records would print with their digests.
func (s *Store) Format(f fmt.State, _ rune) { io.WriteString(f, "memory.Store") }

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if err := ctx.Err(); err != nil {
		return storage.Record{}, err
	}
	s.mu.RLock()
	defer s.mu.RUnlock()
	if s.closed {
		return storage.Record{}, storage.ErrClosed
	}
	r := s.records[id]
	if r == nil {
		return storage.Record{}, storage.ErrNotFound
	}
	return *r, nil
}

// Touch implements storage.Store. Nothing is deferred.
func (s *Store) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	if r := s.records[id]; r != nil {
		use.Raise(r)
	}
	return nil
}

// Update implements storage.Store. Updates run one at a time, whatever their
// subject, and nothing else happens meanwhile.
func (s *Store) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return storage.ErrClosed
	}
	s.tx.begin(subject)
	defer s.tx.begin("")
	if err := fn(&s.tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.tx.apply()
	return nil
}

// List implements storage.Store.
func (s *Store) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		ids, err := s.selected(f)
		if err := cmp.Or(ctx.Err(), err); err != nil {
			yield(storage.Record{}, err)
			return
		}
		for _, id := range ids {
			r, err := s.Get(ctx, id)
			if errors.Is(err, storage.ErrNotFound) || err == nil && !f.Match(r) {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// selected returns the IDs of all records that f may select, in order.
func (s *Store) selected(f storage.Filter) ([]storage.ID, error) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.closed:
		return nil, storage.ErrClosed
	case f.Subject != "":
		return slices.Clone(s.index.Subject(f.Subject)), nil
	case !f.ExpiresBefore.IsZero():
		return s.index.Before(f.ExpiresBefore), nil
	}
	ids := make([]storage.ID, 0, len(s.records))
	for id := range s.records {
		ids = append(ids, id)
	}
	slices.SortFunc(ids, storage.ID.Compare)
	return ids, nil
}

// Close implements storage.Store. The records are gone with it.
func (s *Store) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.closed, s.records, s.index = true, nil, index.Index{}
	return nil
}

// sweepStep bounds how many records one hold of the lock looks at.
const sweepStep = 256

// Sweep implements storage.Store.
func (s *Store) Sweep(ctx context.Context, deadBefore time.Time, limit int) (deleted int, err error) {
	for {
		if err := ctx.Err(); err != nil {
			return deleted, err
		}
		n, more, err := s.sweepSome(deadBefore, min(limit-deleted, sweepStep))
		deleted += n
		if err != nil || !more || deleted >= limit {
			return deleted, err
		}
	}
}

// sweepSome deletes at most n records and looks at no more than that. more is
// false when the index has nothing left to look at.
func (s *Store) sweepSome(deadBefore time.Time, n int) (deleted int, more bool, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, false, storage.ErrClosed
	}
	due := s.index.Take(deadBefore, n)
	var gone []storage.Record
	for _, d := range due {
		r := s.records[d.ID]
		switch {
		case r == nil:
		case r.DeadFrom().Before(deadBefore):
			delete(s.records, d.ID)
			gone = append(gone, *r)
		default:
			s.index.Refile(*r)
		}
	}
	s.index.Remove(gone)
	s.index.Settle()
	return len(gone), len(due) == n, nil
}
