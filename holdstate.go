package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// outlook is what becomes of the connections of a token, by what the store says.
type outlook struct {
	also  []ID    // the tokens that it was delegated from, which decide as well
	due   instant // when it runs out; of a session, when its access secret does
	floor uint32  // the least generation by which a connection may be held
	cause error   // why it is over, if so
	blind bool    // the store could not tell
}

// outlook reads the token of id, and those above it. The answer is about an instant
// while it ran.
func (m *Manager) outlook(ctx context.Context, id ID) (o outlook) {
	o.due = unknown
	rec, err := m.record(ctx, id)
	switch {
	case errors.Is(err, errGone):
		o.cause = &Rejection{Err: ErrUnknown, ID: id}
		return o
	case errors.Is(err, ErrClosed):
		o.cause = storeError("hold", err)
		return o
	case err != nil:
		o.blind = true
		return o
	}
	tok := m.token(&rec)
	if !tok.EndedAt.IsZero() {
		o.cause = expired(&tok, tok.Generation)
		return o
	}
	if err := o.takeParents(ctx, m, &tok); err != nil {
		o.blind = true
	}
	if o.blind || o.cause != nil {
		return o
	}
	o.floor, o.due = floorOf(&rec), at(capped(tok.ExpiresAt, accessEnd(&rec)))
	if at(m.now()) >= o.due {
		why := expired(&tok, tok.Generation)
		why.At = o.due.time()
		o.cause = why
	}
	return o
}

// accessEnd returns when the access secret of rec, if it is a session, runs out.
func accessEnd(rec *storage.Record) (end time.Time) {
	if s, ok := sessionOf(rec); ok && rec.Kind == KindSession {
		end = s.accessExpires()
	}
	return end
}

// takeParents adds those that tok was delegated from, and makes of tok what they leave of
// it. The end of one of them may be seen before that of tok, with which it came.
func (o *outlook) takeParents(ctx context.Context, m *Manager, tok *Token) error {
	if tok.Parent == (ID{}) {
		return nil
	}
	_, err := m.clamp(tok, func(id ID) (storage.Record, error) {
		o.also = append(o.also, id)
		return m.store.Get(ctx, id)
	})
	if err == nil && !tok.EndedAt.IsZero() {
		o.cause = expired(tok, tok.Generation)
	}
	return err
}
