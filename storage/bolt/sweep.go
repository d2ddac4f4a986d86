package bolt

import (
	"context"
	"time"
)

// sweepStep is how many records one op of Sweep looks at: other writers wait for no more.
const sweepStep = 512

// Sweep implements storage.Store. The deletions are written together with what others write.
// A record is out of sight as soon as it is found dead. A crash before its deletion is on the
// disk brings the record back, still dead.
func (s *Store) Sweep(ctx context.Context, deadBefore time.Time, limit int) (deleted int, err error) {
	if err := s.writable(ctx); err != nil {
		return 0, err
	}
	for more := true; more && deleted < limit; {
		var g *group
		var o *op
		if g, o, more, err = s.stageSweep(ctx, deadBefore, min(limit-deleted, sweepStep)); err != nil {
			return deleted, err
		}
		if g == nil {
			continue
		}
		if err := s.await(ctx, g, o); err != nil {
			return deleted, err
		}
		deleted += len(o.deletes)
	}
	return deleted, nil
}

// stageSweep enqueues the deletion of at most n records. more is false when no record is left to
// look at; g is nil when no record was found dead.
func (s *Store) stageSweep(ctx context.Context, before time.Time, n int) (g *group, o *op, more bool, err error) {
	if err := s.take(ctx); err != nil {
		return nil, nil, false, err
	}
	defer s.turn.Give()
	if !s.table.AnyDue(before) {
		return nil, nil, false, nil
	}
	o = new(op)
	if o.deletes, more = s.table.TakeDead(before, n, s.stage.Holds); len(o.deletes) == 0 {
		return nil, nil, more, nil
	}
	return s.enqueue(o), o, more, nil
}
