package bolt

import (
	"context"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// flushLoop flushes FlushEvery after the first Touch that the store has deferred, and tries again
// after a write has failed. A Touch during a flush counts as deferred when that flush began. The
// life of a token does not depend on when the timer goes off.
func (s *Store) flushLoop() {
	timer := time.NewTimer(retryEvery)
	defer timer.Stop()
	var at time.Time // when the timer goes off, while s.timerRuns is set
	for {
		flushes := false
		select {
		case <-s.alarm:
		case <-timer.C:
			flushes = s.timerRuns.Swap(false) // before due looks for deferred Touches: a later Touch wakes the loop
		case <-s.closed:
			return
		}
		from := time.Now()
		if flushes {
			s.flushNow(context.Background())
		}
		if next := from.Add(s.due()); next.After(from) && (!s.timerRuns.Load() || next.Before(at)) {
			at = next
			timer.Reset(time.Until(at))
			s.timerRuns.Store(true)
		}
	}
}

// due returns how long the next flush may wait, and 0 if there is nothing to flush.
func (s *Store) due() time.Duration {
	switch {
	case s.failing():
		return retryEvery
	case s.table.Unsaved() == 0 && !s.marks.Unsaved():
		return 0
	case s.opts.FlushEvery == FlushAtOnce: // an Update that failed has left a renewal
		return retryEvery
	}
	return s.opts.FlushEvery
}

// flushStep is how many renewals one op of a flush holds: another writer waits for one such op.
const flushStep = 1024

// flushNow writes the renewals that Touch has deferred until now, the mark if that must not wait,
// and the records that are owed. It first waits for a flush that is under way. It gives up when
// ctx ends. Renewals that cannot be written are unsaved again.
func (s *Store) flushNow(ctx context.Context) error {
	if !s.flushing.TakeUnless(ctx, nil) {
		return ctx.Err()
	}
	defer s.flushing.Give()
	ids := s.table.TakeUnsaved(s.table.Len(), &s.unflushed)
	slices.SortFunc(ids, storage.ID.Compare) // the order in which they lie in the file
	var err error
	for step := range slices.Chunk(ids, flushStep) {
		if err == nil {
			err = s.writeNow(ctx, &op{raises: step})
			continue
		}
		s.turn.Take()
		s.unsave(step)
		s.turn.Give()
	}
	if err == nil && (s.marks.Unsaved() || s.failing()) {
		err = s.writeNow(ctx, &op{forceMark: true})
	}
	if err != nil {
		wake(s.alarm)
	}
	return err
}

// unsave makes the renewals of ids, which are unflushed, unsaved again. The caller holds s.turn, as
// Stats does, which adds both and must miss none in between.
func (s *Store) unsave(ids []storage.ID) {
	for _, id := range ids {
		s.table.MarkUnsaved(id)
	}
	s.unflushed.Add(-int64(len(ids)))
}

// failing reports whether the last group could not be written, or something is owed.
func (s *Store) failing() bool {
	s.turn.Take()
	defer s.turn.Give()
	return s.cause != nil || len(s.owed) > 0
}

// writeNow enqueues o, and returns the error of await.
func (s *Store) writeNow(ctx context.Context, o *op) error {
	s.turn.Take()
	if s.shut {
		s.turn.Give()
		return storage.ErrClosed
	}
	s.enqueue(ctx, o)
	s.turn.Give()
	return s.await(ctx, o)
}
