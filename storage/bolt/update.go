package bolt

import (
	"context"
	"fmt"

	"github.com/seed-55daa01a/lapse/storage"
)

// Update implements storage.Store. Updates run one at a time, whatever their
// subject, and see what those before them put. Those that are waiting to be durable
// become so together. Get and List show an Update once it is durable, and may show
// one of its records before another.
//
// ErrTooMany, with ErrUnavailable: it would create more records than
// Options.MaxTokens allows.
func (s *Store) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	g, o, err := s.stageUpdate(ctx, subject, fn)
	err = s.await(g, o, err)
	if o != nil && err == nil { // then nobody else has it any more
		*o = op{}
		s.ops.Put(o)
	}
	return err
}

// await returns what became of an op, or err where there is none: but if that was
// said by what is not durable, it waits until it is. There is nothing to wait for if
// group is nil.
func (s *Store) await(g *group, o *op, err error) error {
	if g == nil {
		return err
	}
	if o != nil && o.leads {
		s.write(g)
		s.finish(g)
	}
	<-g.done
	switch {
	case o != nil:
		return o.err
	case err == nil && g.failed:
		return errBefore
	}
	return err
}

// stageUpdate runs fn and stages what it put. Its results are for await; op is nil
// if nothing was put.
func (s *Store) stageUpdate(ctx context.Context, subject string, fn func(storage.Tx) error) (*group, *op, error) {
	o, ok := s.ops.Get().(*op)
	if !ok {
		o = new(op) // which is large: while others may have the turn
	}
	if err := s.take(ctx); err != nil {
		return nil, nil, err
	}
	defer s.turn.Give()
	tx := s.stage.Begin(subject)
	err := fn(tx)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && len(tx.Writes()) > 0 {
		if n := tx.Created() - tx.Deleted(); n > 0 && !s.roomFor(n) {
			return nil, nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, ErrTooMany)
		}
		if err = o.put(subject, tx.Writes()); err == nil {
			return s.lead(o), o, nil
		}
	}
	if tx.Staged() {
		return s.newest(), nil, err
	}
	return nil, nil, err
}

// roomFor reports whether n more records are within MaxTokens. What is being revealed may
// be counted twice at first.
func (s *Store) roomFor(n int) bool {
	most := s.opts.MaxTokens - len(s.leftovers) - n
	return s.table.Len()+s.stage.Created() <= most || s.stage.Records() <= most
}

// newest returns the group that is written last of those there are, or nil.
func (s *Store) newest() *group {
	if len(s.queue) == 0 {
		return nil
	}
	return s.queue[len(s.queue)-1]
}

// Touch implements storage.Store. It is in the file within Options.FlushEvery, or
// before it returns, with FlushAtOnce. What is deferred costs no wait.
func (s *Store) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if !storable(use.At) || !storable(use.ExpiresAt) {
		return errInstant
	}
	if s.opts.FlushEvery == FlushAtOnce {
		return s.await(s.stageTouch(ctx, id, use))
	}
	if s.table.Touch(id, use) {
		if !s.timed.Load() { // to wake somebody costs as much as all the rest
			ring(s.alarm)
		}
		return s.ready(context.Background()) // Close may have looked for what is deferred before
	} else if s.isDamaged(id) {
		return storage.ErrCorrupt
	}
	return nil
}

// stageTouch stages what use raises, if anything. Its results are for await.
func (s *Store) stageTouch(ctx context.Context, id storage.ID, use storage.Use) (*group, *op, error) {
	if err := s.take(ctx); err != nil {
		return nil, nil, err
	}
	defer s.turn.Give()
	tx := s.stage.Begin("")
	subject, err := tx.Raise(id, use)
	if err == nil && len(tx.Writes()) == 0 && tx.Staged() {
		return s.newest(), nil, nil
	}
	if err != nil || len(tx.Writes()) == 0 {
		return nil, nil, err
	}
	o := new(op)
	if err := o.put(subject, tx.Writes()); err != nil {
		return nil, nil, err
	}
	return s.lead(o), o, nil
}
