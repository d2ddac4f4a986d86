package bolt

import (
	"context"
	"runtime"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// sweepStep bounds how many records one op of Sweep looks at, so that whoever writes
// meanwhile waits for no more than that.
const sweepStep = 512

// Sweep implements storage.Store. What it deletes is written together with what
// others write. It is out of sight as soon as it is found dead, and back, dead, if
// the process crashes before it is deleted.
func (s *Store) Sweep(ctx context.Context, deadBefore time.Time, limit int) (deleted int, err error) {
	if err := s.ready(ctx); err != nil {
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
		if <-g.done; o.err != nil {
			return deleted, o.err
		}
		runtime.Gosched() // with few processors, somebody waits to read
		deleted += len(o.deletes)
	}
	return deleted, nil
}

// stageSweep stages the deletion of at most n records. more is false when there is
// nothing left to look at, and group is nil when nothing was found dead.
func (s *Store) stageSweep(ctx context.Context, before time.Time, n int) (g *group, o *op, more bool, err error) {
	if err := s.take(ctx); err != nil {
		return nil, nil, false, err
	}
	defer s.turn.Give()
	if len(s.leftovers) == 0 && !s.table.AnyDue(before) {
		return nil, nil, false, nil
	}
	o = new(op)
	if more = len(s.leftovers) > 0; more {
		o.deletes = s.takeLeftovers(n)
	} else {
		o.deletes, more = s.table.TakeDead(before, n, s.stage.Holds)
	}
	if len(o.deletes) == 0 {
		return nil, nil, more, nil
	}
	return s.enqueue(o), o, more, nil
}

// takeLeftovers returns at most n IDs of what an earlier sweep took out of the table
// but could not delete. What has been put under such an ID since stays.
func (s *Store) takeLeftovers(n int) (ids []storage.ID) {
	n = min(n, len(s.leftovers))
	var r storage.Record
	for _, id := range s.leftovers[:n] {
		if !s.stage.Holds(id) && !s.table.Get(id, &r) {
			ids = append(ids, id)
		}
	}
	s.leftovers = s.leftovers[n:]
	return ids
}
