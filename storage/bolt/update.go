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
	g, o, lead, err := s.stageUpdate(ctx, subject, fn)
	if g == nil {
		return err
	}
	if lead {
		s.write(g)
		s.finish(g)
	}
	<-g.done
	switch {
	case o != nil:
		return o.err
	case err == nil && g.failed:
		return errBefore // it wrote nothing, and went by what was not written
	}
	return err
}

// stageUpdate runs fn and stages what it put. Whoever goes by what is not durable
// waits until it is: group is what to wait for, if not nil, and op is nil if nothing
// was put. If lead is true, the caller is to write the group.
func (s *Store) stageUpdate(ctx context.Context, subject string, fn func(storage.Tx) error) (g *group, o *op, lead bool, err error) {
	if err := s.take(ctx); err != nil {
		return nil, nil, false, err
	}
	defer func() { <-s.turn }()
	tx := s.stage.Begin(subject)
	err = fn(tx)
	if err == nil {
		err = ctx.Err()
	}
	if err == nil && len(tx.Writes()) > 0 {
		if s.table.Len()+s.stage.Created()+tx.Created() > s.opts.MaxTokens {
			return nil, nil, false, fmt.Errorf("%w: %w", storage.ErrUnavailable, ErrTooMany)
		}
		o, err = newOp(subject, tx.Writes())
	}
	switch {
	case o != nil:
		g = s.join(o)
		if lead = s.lead(g); !lead {
			ring(s.work)
		}
		return g, o, lead, nil
	case tx.Staged():
		return s.queue[len(s.queue)-1], nil, false, err
	}
	return nil, nil, false, err
}

// Touch implements storage.Store. It is in the file within Options.FlushEvery, or
// before it returns, with FlushAtOnce. What is deferred costs no wait.
func (s *Store) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	if s.opts.FlushEvery == FlushAtOnce {
		return s.touchAtOnce(ctx, id, use)
	}
	if s.table.Touch(id, use) {
		ring(s.alarm)
	} else if s.isDamaged(id) {
		return storage.ErrCorrupt
	}
	return nil
}

func (s *Store) touchAtOnce(ctx context.Context, id storage.ID, use storage.Use) error {
	g, o, err := s.stageTouch(ctx, id, use)
	if g == nil {
		return err
	}
	<-g.done
	return o.err
}

func (s *Store) stageTouch(ctx context.Context, id storage.ID, use storage.Use) (*group, *op, error) {
	if err := s.take(ctx); err != nil {
		return nil, nil, err
	}
	defer func() { <-s.turn }()
	tx := s.stage.Begin("")
	subject, err := tx.Raise(id, use)
	if err != nil || len(tx.Writes()) == 0 {
		return nil, nil, err
	}
	o, err := newOp(subject, tx.Writes())
	if err != nil {
		return nil, nil, err
	}
	return s.enqueue(o), o, nil
}
