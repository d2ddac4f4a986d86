package storagetest

import (
	"context"
	"fmt"
	"iter"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// slow has commits that take time, and returns from an Update when its context ends meanwhile.
type slow struct {
	*toy
	underway *sync.WaitGroup // the commits of this process that are
	waits    bool            // reads of this process wait for them
	reverts  bool            // a commit shows its writes at once, and takes them back if its caller has left
}

func slowly(waits, reverts bool) func(*toy) storage.Store {
	return func(t *toy) storage.Store { return &slow{t, new(sync.WaitGroup), waits, reverts} }
}

// TestSlowCommits: a store that does not know the outcomes of its Updates, and waits for them before it
// reads, is right.
func TestSlowCommits(t *testing.T) {
	b := Backend{
		Open:  func(testing.TB) storage.Store { return slowly(true, false)(newToy()) },
		Share: func(_ testing.TB, s storage.Store) storage.Store { return slowly(true, false)(under(s).shared()) },
	}
	for _, c := range unknownCases() {
		if err := c.run(t, b, patience); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

func (s *slow) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if len(s.handles) == 1 || ctx.Done() == nil {
		return s.toy.Update(ctx, subject, fn)
	}
	s.turn <- struct{}{}
	if err := s.lock(ctx); err != nil {
		<-s.turn
		return err
	}
	tx, before := s.begin(subject), s.records
	s.mu.Unlock()
	if err := fn(tx); err != nil {
		<-s.turn
		return err
	}
	if s.reverts {
		s.commit(tx, tx.records)
	}
	done := make(chan struct{})
	s.underway.Go(func() {
		defer func() { <-s.turn; close(done) }()
		pauseFor(context.Background(), time.Millisecond)
		if ctx.Err() != nil && s.reverts {
			s.commit(tx, before)
			return
		}
		s.commit(tx, tx.records)
	})
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, ctx.Err())
	}
}

func (s *slow) commit(tx *toyTx, records map[storage.ID]storage.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.records = records
	for id := range tx.created {
		s.madeBy[id] = s.toy
	}
	s.tell(s.toy, tx.put)
}

func (s *slow) settle() {
	if s.waits {
		s.underway.Wait()
	}
}

func (s *slow) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	s.settle()
	return s.toy.Get(ctx, id)
}

func (s *slow) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	s.settle()
	return s.toy.List(ctx, f)
}

func (s *slow) Cached(id storage.ID) (storage.Record, bool) { return storage.Record{}, false }

func (s *slow) CachedFor(store storage.Store) bool { return store == storage.Store(s) }
