package bolt

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/internal/index"
	"github.com/seed-55daa01a/lapse/storage"
)

// sweepStep bounds how many records one transaction of Sweep looks at, so that
// other writers wait for no more than that.
const sweepStep = 512

// Sweep implements storage.Store.
func (s *Store) Sweep(ctx context.Context, deadBefore time.Time, limit int) (int, error) {
	if err := s.ready(ctx); err != nil {
		return 0, err
	}
	deleted := 0
	for deleted < limit {
		n, more, err := s.sweepSome(ctx, deadBefore, min(limit-deleted, sweepStep))
		if err != nil {
			return deleted, err
		}
		deleted += n
		if !more {
			break
		}
	}
	return deleted, nil
}

// sweepSome deletes at most n records in one transaction and looks at no more than
// that. more is false when the index has nothing left to look at.
func (s *Store) sweepSome(ctx context.Context, deadBefore time.Time, n int) (deleted int, more bool, err error) {
	if !s.anyDue(deadBefore) {
		return 0, false, nil
	}
	w := sweep{store: s, before: deadBefore}
	err = s.write(ctx, func(t *tokens) error { return w.delete(t, n) }, w.file)
	if err != nil {
		return 0, false, err
	}
	return len(w.gone), len(w.due) == n, nil
}

func (s *Store) anyDue(before time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.index.Any(before)
}

// sweep is one transaction of Sweep.
type sweep struct {
	store       *Store
	before      time.Time
	due         []index.Due
	gone, alive []storage.Record
}

// delete looks at up to n records that the index calls due, and deletes the dead.
// One that is damaged stays, and is not looked at again.
func (w *sweep) delete(t *tokens, n int) error {
	w.store.mu.Lock()
	w.due = w.store.index.Take(w.before, n)
	w.store.mu.Unlock()
	for _, d := range w.due {
		r, err := t.get(d.ID)
		switch {
		case errors.Is(err, storage.ErrNotFound), errors.Is(err, storage.ErrCorrupt):
		case err != nil:
			return err
		case r.DeadFrom().Before(w.before):
			if err := t.delete(d.ID); err != nil {
				return err
			}
			w.gone = append(w.gone, r)
		default:
			w.alive = append(w.alive, r)
		}
	}
	return nil
}

// file brings the index up to what was deleted.
func (w *sweep) file(err error) {
	defer w.store.index.Settle()
	if err != nil {
		w.store.index.GiveBack(w.due...)
		return
	}
	w.store.index.Remove(w.gone)
	for _, r := range w.alive {
		w.store.index.Refile(r)
	}
}
