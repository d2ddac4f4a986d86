package bolt

import (
	"context"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// flushLoop writes what Touch has deferred every FlushEvery, while there is something, and
// tries a write again after one has failed. Nothing about the life of a token depends on when
// its timer goes off.
func (s *Store) flushLoop() {
	pace := s.opts.FlushEvery
	if pace == FlushAtOnce { // then there is hardly ever anything to flush
		pace = retryEvery
	}
	timer := time.NewTimer(pace)
	timer.Stop()
	retrying := false // the timer goes off for what has failed
	for {
		select {
		case <-s.alarm:
			switch trouble := s.inTrouble(); {
			case trouble && !retrying:
				retrying = true
				s.timed.Store(true)
				timer.Reset(retryEvery)
			case !trouble && !s.timed.Load() && s.wantsFlush():
				s.timed.Store(true)
				timer.Reset(pace)
			}
			continue
		case <-timer.C:
			retrying = false
			s.timed.Store(false) // before looking for what Touch has deferred: what comes later rings
		case <-s.closed:
			timer.Stop()
			return
		}
		if s.flush() != nil {
			ring(s.alarm)
		}
	}
}

// wantsFlush reports whether there is anything to flush.
func (s *Store) wantsFlush() bool {
	s.turn.Take()
	defer s.turn.Give()
	return s.table.Unsaved() > 0 || s.marks.Unsaved()
}

// flushStep is how many renewals one op of a flush holds: other writers wait for no more.
const flushStep = 1024

// flush writes the renewals that Touch has deferred until now, the mark if that must not wait,
// and the records that are owed. It first waits for a flush that is under way. Renewals that
// cannot be written are unsaved again.
func (s *Store) flush() error { return s.flushUnless(context.Background()) }

// flushUnless is flush, given up when ctx ends.
func (s *Store) flushUnless(ctx context.Context) error {
	if !s.flushing.TakeUnless(ctx, nil) {
		return ctx.Err()
	}
	defer s.flushing.Give()
	ids := s.table.TakeUnsaved(s.table.Len(), &s.unflushed)
	slices.SortFunc(ids, storage.ID.Compare) // in this order they lie in the file
	var err error
	for step := range slices.Chunk(ids, flushStep) {
		if err != nil {
			for _, id := range step {
				s.table.MarkUnsaved(id)
			}
			continue
		}
		err = s.writeNow(ctx, &op{raises: step})
	}
	if err == nil && (s.marks.Unsaved() || s.inTrouble()) {
		err = s.writeNow(ctx, &op{marks: true})
	}
	s.turn.Take() // Stats, which adds Unsaved and unflushed, must not miss a renewal that went back to Unsaved
	s.unflushed.Store(0)
	s.turn.Give()
	if s.marks.Unsaved() || s.table.Unsaved() > 0 {
		ring(s.alarm)
	}
	return err
}

// inTrouble reports whether the last group could not be written, or something is owed.
func (s *Store) inTrouble() bool {
	s.turn.Take()
	defer s.turn.Give()
	return s.cause != nil || len(s.owed) > 0
}

// writeNow has the committer write o and returns what await does.
func (s *Store) writeNow(ctx context.Context, o *op) error {
	s.turn.Take()
	if s.shut {
		s.turn.Give()
		return storage.ErrClosed
	}
	g := s.enqueue(o)
	s.turn.Give()
	return s.await(ctx, g, o)
}
