// Package memory keeps tokens in the memory of this process and nowhere else. It is for tests, and
// for programs whose tokens may end with the process. It is also the reference implementation of
// the storage contract, and the shortest one to read: a thin layer over internal/table, which has the
// records and the transactions.
package memory

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/turn"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/feed"
)

var (
	_ storage.Store       = (*Store)(nil)
	_ storage.Watcher     = (*Store)(nil)
	_ storage.Marker      = (*Store)(nil)
	_ storage.BatchGetter = (*Store)(nil)
	_ storage.Pager       = (*Store)(nil)
)

// Store is a storage.Store in memory. It is safe for concurrent use. Its content ends with the
// process, so that durable means here: until Close. Get and Touch wait for no other call.
type Store struct {
	reader table.Reader // closed with the store
	turn   *turn.Turn   // held by the Update or Sweep that is writing
	stage  *table.Stage // used by the caller that holds the turn
	feed   *feed.Feed
	marks  *storage.Marks
}

// New returns an empty store.
func New() *Store {
	t := table.New()
	s := &Store{turn: turn.New(), stage: table.NewStage(t)}
	s.feed, s.marks = s.stage.Feed, storage.NewMarks(storage.Mark{}, nil)
	s.reader.Open(t)
	return s
}

// Format writes the name of the type and nothing of the content.
func (s *Store) Format(f fmt.State, _ rune) { io.WriteString(f, "memory.Store") }

// Get implements storage.Store.
func (s *Store) Get(ctx context.Context, id storage.ID) (r storage.Record, err error) {
	t, err := s.ready(ctx)
	if err != nil {
		return r, err
	}
	if !t.Get(id, &r) {
		return r, storage.ErrNotFound
	}
	return r, nil
}

// Reader returns a reader by which a Manager gets a record without the copies that Get makes. It
// returns nil unless self is s: a wrapper around s may have a Get of its own.
func (s *Store) Reader(self storage.Store) *table.Reader {
	if self != storage.Store(s) {
		return nil
	}
	return &s.reader
}

// Touch implements storage.Store. Nothing is deferred.
func (s *Store) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	t, err := s.ready(ctx)
	if err == nil {
		t.Touch(id, use)
	}
	return err
}

// ready returns the table, or the error of ctx, or storage.ErrClosed.
func (s *Store) ready(ctx context.Context) (*table.Table, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t := s.reader.Table()
	if t == nil {
		return nil, storage.ErrClosed
	}
	return t, nil
}

// Update implements storage.Store. Updates run one at a time, even those of different subjects. Get
// and List may see one record of an Update before another.
func (s *Store) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.turn.Give()
	tx := s.stage.Begin(subject)
	if err := fn(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	s.stage.Reveal(tx.Writes())
	return nil
}

// lock waits for the turn. It returns the error of ctx if that ends first, and storage.ErrClosed if
// the store is closed.
func (s *Store) lock(ctx context.Context) error {
	if _, err := s.ready(ctx); err != nil {
		return err
	}
	if !s.turn.TakeUnless(ctx, nil) {
		return ctx.Err()
	}
	if _, err := s.ready(ctx); err != nil { // closed meanwhile
		s.turn.Give()
		return err
	}
	return nil
}

// List implements storage.Store.
func (s *Store) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		t, err := s.ready(ctx)
		if err != nil {
			yield(storage.Record{}, err)
			return
		}
		for _, id := range t.Select(f) {
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

// Gets implements storage.BatchGetter.
func (s *Store) Gets(ctx context.Context, ids []storage.ID) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for _, id := range ids {
			r, err := s.Get(ctx, id)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			if !yield(r, err) || err != nil {
				return
			}
		}
	}
}

// GetsFor implements storage.BatchGetter.
func (s *Store) GetsFor(store storage.Store) bool { return store == storage.Store(s) }

// Page implements storage.Pager.
func (s *Store) Page(ctx context.Context, after string, n int) ([]storage.Record, string, error) {
	t, err := s.ready(ctx)
	if err != nil {
		return nil, "", err
	}
	return t.Page(after, n, nil)
}

// PageFor implements storage.Pager.
func (s *Store) PageFor(store storage.Store) bool { return store == storage.Store(s) }

// Close implements storage.Store. It waits for the Update that is under way, and removes all
// records.
func (s *Store) Close() error {
	s.turn.Take()
	s.reader.Close()
	s.stage = nil
	s.feed.Close()
	s.turn.Give()
	return nil
}

// Watch implements storage.Watcher.
func (s *Store) Watch(ctx context.Context) iter.Seq2[storage.Change, error] { return s.feed.Watch(ctx) }

// Marks implements storage.Marker. The marks end with the process.
func (s *Store) Marks() *storage.Marks { return s.marks }

// sweepStep is how many records Sweep examines before it lets other callers write.
const sweepStep = 256

// Sweep implements storage.Store.
func (s *Store) Sweep(ctx context.Context, deadBefore time.Time, limit int) (deleted int, err error) {
	if _, err := s.ready(ctx); err != nil {
		return 0, err
	}
	for more := true; more && deleted < limit; {
		if err := s.lock(ctx); err != nil {
			return deleted, err
		}
		var gone []storage.ID
		gone, more = s.reader.Table().TakeDead(deadBefore, min(limit-deleted, sweepStep), nil)
		s.turn.Give()
		deleted += len(gone)
	}
	return deleted, nil
}
