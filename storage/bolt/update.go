package bolt

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// Update implements storage.Store. Updates run one at a time, also those of different subjects,
// and each sees the writes of those before. Get and List show an Update once it is durable, and may
// show one of its records before another.
//
// A context that ends while the Update waits means no effect. One that ends while the disk is
// writing makes the outcome ErrOutcomeUnknown (S28).
//
// ErrTooMany, with ErrUnavailable: it would create more records than Options.MaxTokens allows.
func (s *Store) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	o, err := s.stageUpdate(ctx, subject, fn)
	if o == nil {
		return err
	}
	return cmp.Or(s.await(ctx, o), err)
}

// stageUpdate runs fn and enqueues its writes. The op is nil where the call has nothing to wait
// for. Where fn failed or has put nothing, but may have read writes that are not durable yet, the
// op has no writes.
func (s *Store) stageUpdate(ctx context.Context, subject string, fn func(storage.Tx) error) (*op, error) {
	if err := s.acquire(ctx, s.turn); err != nil {
		return nil, err
	}
	defer s.turn.Give()
	tx := s.stage.Begin(subject)
	err := fn(tx)
	if err == nil {
		err = ctx.Err()
	}
	if err != nil || len(tx.Writes()) == 0 {
		if !tx.Staged() && !s.owes() {
			return nil, err
		}
		return s.enqueue(ctx, &op{subject: subject}), err
	}
	if n := tx.Created() - tx.Deleted(); n > 0 && !s.roomFor(n) {
		return nil, fmt.Errorf("%w: %w", storage.ErrUnavailable, ErrTooMany)
	}
	o := &op{subject: subject, writes: tx.TakeWrites()}
	if err = o.check(); err != nil {
		return nil, err
	}
	return s.enqueue(ctx, o), nil
}

// owes reports whether the table shows an end that is not known to be on the disk: an Update
// that finds the token ended waits until the end is durable.
func (s *Store) owes() bool {
	return len(s.owed) > 0 || s.writing != nil && len(s.writing.owed) > 0
}

// roomFor reports whether n more records are within MaxTokens. The first count is cheap, and counts
// a record twice while it is being revealed; the second count is exact.
func (s *Store) roomFor(n int) bool {
	most := s.opts.MaxTokens - n
	if s.cause != nil { // otherwise the group of the n records writes the owed ones with it, or fails
		most -= len(s.owed)
	}
	return s.table.Len()+s.stage.Created() <= most || s.stage.Records() <= most
}

// Touch implements storage.Store. The use is written Options.FlushEvery later, or, with
// FlushAtOnce, is on the disk before Touch returns. A Touch that is deferred waits for nothing.
// ErrUnavailable: also an instant outside of the years 1 to 9999.
func (s *Store) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if err := s.writable(ctx); err != nil {
		return err
	}
	if !wire.Storable(use.At) || !wire.Storable(use.ExpiresAt) {
		return wire.ErrInstant
	}
	if s.opts.FlushEvery == FlushAtOnce {
		return s.touchNow(ctx, id, use)
	}
	if s.table.Touch(id, use) {
		if !s.timerRuns.Load() { // waking the flusher costs as much as all the rest
			wake(s.alarm)
		}
		return s.ready(context.Background()) // ErrClosed if Close may have flushed before this Touch
	}
	if s.isDamaged(id) {
		return storage.ErrCorrupt
	}
	return nil
}

// touchNow is Touch for FlushAtOnce: an Update of the record.
func (s *Store) touchNow(ctx context.Context, id storage.ID, use storage.Use) error {
	r, err := s.Get(ctx, id)
	if err == nil {
		err = s.Update(ctx, r.Subject, func(tx storage.Tx) error {
			r, err := tx.Get(id)
			if err == nil && use.Raise(&r) {
				err = tx.Put(r)
			}
			return err
		})
	}
	if errors.Is(err, storage.ErrNotFound) {
		return nil
	}
	return err
}
