package bolt

import (
	"context"
	"time"
)

// sweepStep is how many records one op of Sweep looks at: another writer waits for one such op.
const sweepStep = 512

// Sweep implements storage.Store. The deletions are written together with the writes of other
// calls. A record is out of sight as soon as it is found dead. A crash before its deletion is on
// the disk brings the record back, still dead.
func (s *Store) Sweep(ctx context.Context, deadBefore time.Time, limit int) (deleted int, err error) {
	if err := s.writable(ctx); err != nil {
		return 0, err
	}
	for more := true; more && deleted < limit; {
		var o *op
		var n int
		if o, n, more, err = s.stageSweep(ctx, deadBefore, min(limit-deleted, sweepStep)); err != nil {
			return deleted, err
		}
		if o == nil {
			continue
		}
		if err := s.await(ctx, o); err != nil {
			return deleted, err
		}
		deleted += n
	}
	return deleted, nil
}

// stageSweep deletes at most n records from the table, which are owed then. The op waits until the
// deletions are durable, and is nil when no record was found dead. more is false when no record is
// left to look at.
func (s *Store) stageSweep(ctx context.Context, before time.Time, n int) (o *op, deleted int, more bool, err error) {
	if err := s.acquire(ctx, s.turn); err != nil {
		return nil, 0, false, err
	}
	defer s.turn.Give()
	if !s.table.AnyDue(before) {
		return nil, 0, false, nil
	}
	ids, more := s.table.TakeDead(before, n, s.stage.Holds)
	if len(ids) == 0 {
		return nil, 0, more, nil
	}
	s.owed = append(s.owed, ids...)
	return s.enqueue(ctx, new(op)), len(ids), more, nil
}
