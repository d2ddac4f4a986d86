package bolt

import (
	"context"
	"errors"
	"fmt"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// fillPercent is how full bbolt leaves the pages it splits. New keys come after
// all others, so a page that was split is never written to again.
const fillPercent = 0.9

// write runs fn in the one write transaction and commits what it wrote. An error
// from fn comes back as it is and nothing was written; so does a panic. Waiting
// for its turn ends with ctx or Close. Before the turn ends, finish learns what
// became of it, with the index locked: nil, ErrOutcomeUnknown, or another error if
// nothing was written. It is not called if fn was not.
func (s *Store) write(ctx context.Context, fn func(*tokens) error, finish func(error)) (err error) {
	if err := s.take(ctx); err != nil {
		return err
	}
	defer func() { <-s.turn }()

	btx, err := s.begin(true)
	if err != nil {
		return err
	}
	defer s.guardEdge(btx.Rollback) // nothing to do after a commit

	result := errAborted // what a panic leaves
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		finish(result)
	}()
	result = s.commit(ctx, btx, fn)
	return result
}

var errAborted = errors.New("bolt: transaction aborted")

func (s *Store) begin(writable bool) (btx *bbolt.Tx, err error) {
	err = s.guardEdge(func() error {
		btx, err = s.db.Begin(writable)
		return err
	})
	return btx, classify(err)
}

func (s *Store) commit(ctx context.Context, btx *bbolt.Tx, fn func(*tokens) error) error {
	t, err := tokensOf(btx)
	if err != nil {
		return err
	}
	t.bucket.FillPercent = fillPercent
	if err := fn(t); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil || !t.dirty {
		return err
	}
	if err := s.guardEdge(btx.Commit); err != nil {
		return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, err)
	}
	return nil
}

// take waits for the turn to write.
func (s *Store) take(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	select {
	case s.turn <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	case <-s.closed:
		return storage.ErrClosed
	}
	if err := s.ready(ctx); err != nil {
		<-s.turn
		return err
	}
	return nil
}

// ready says why a call that begins now cannot go on, if so.
func (s *Store) ready(ctx context.Context) error {
	select {
	case <-s.closed:
		return storage.ErrClosed
	default:
	}
	if s.broken.Load() {
		return errBroken
	}
	return ctx.Err()
}

// tokens is the bucket of records inside one bbolt transaction.
type tokens struct {
	bucket *bbolt.Bucket
	dirty  bool // something was written
}

func tokensOf(btx *bbolt.Tx) (*tokens, error) {
	t := new(tokens)
	err := guard(func() error {
		if t.bucket = btx.Bucket(tokensBucket); t.bucket == nil {
			return fmt.Errorf("%w: its bucket is gone", storage.ErrCorrupt)
		}
		return nil
	})
	return t, err
}

// get returns the record of id, whosever it is.
func (t *tokens) get(id storage.ID) (r storage.Record, err error) {
	err = guard(func() error {
		v := t.bucket.Get(id[:])
		if v == nil {
			return storage.ErrNotFound
		}
		r, err = decode(id[:], v)
		return err
	})
	return r, err
}

func (t *tokens) put(r *storage.Record) error {
	v, err := encode(r)
	if err != nil {
		return err
	}
	t.dirty = true
	return t.change(func() error { return t.bucket.Put(r.ID[:], v) })
}

func (t *tokens) delete(id storage.ID) error {
	t.dirty = true
	return t.change(func() error { return t.bucket.Delete(id[:]) })
}

func (t *tokens) change(f func() error) error {
	err := guard(f)
	if err == nil || errors.Is(err, storage.ErrCorrupt) {
		return err
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, err)
}
