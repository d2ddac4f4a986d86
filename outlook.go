package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// outlook is what becomes of those who hold a token, by what the store says.
type outlook struct {
	from  ID      // the first of the token and its successors that still decides anything
	also  []ID    // what else decides: later successors, and the tokens they were delegated from
	due   instant // when the last of them runs out
	cause error   // why it is over, if so
	blind bool    // the store could not tell
}

// mostRotations is how many successors are followed at once: more than anybody makes
// between two looks. In a damaged store they might lead back to where they began.
const mostRotations = 100_000

// outlook follows the token of id to its successors. The answer is about an instant
// while it ran.
func (m *Manager) outlook(ctx context.Context, id ID) (o outlook) {
	o.from, o.due = id, unknown
	var last Token
	for n := 0; n < mostRotations && id != (ID{}); n++ {
		rec, err := m.record(ctx, id)
		switch {
		case errors.Is(err, ErrNotFound) && last.ID != (ID{}): // swept: the others decide
			id = ID{}
			continue
		case errors.Is(err, ErrNotFound):
			o.cause = &Rejection{Err: ErrUnknown, ID: id}
			return o
		case errors.Is(err, ErrClosed):
			o.cause = storeError("hold", err)
			return o
		case err != nil:
			o.blind = true
			return o
		}
		last = m.token(&rec)
		id = o.take(ctx, m, &last)
		if o.cause != nil || o.blind {
			return o
		}
	}
	if at(m.now()) >= o.due {
		o.cause = ranOut(&last, o.due)
	}
	return o
}

// ranOut is the cause for a token of which nothing lives from due on, whether or not
// it was spent or rotated before.
func ranOut(last *Token, due instant) *Rejection {
	if due == unknown {
		due = at(last.ExpiresAt)
	}
	return &Rejection{Err: ErrExpired, ID: last.ID, Subject: last.Subject, At: due.time()}
}

// record returns the record of id, and nothing else that the store may say.
func (m *Manager) record(ctx context.Context, id ID) (storage.Record, error) {
	rec, err := m.store.Get(ctx, id)
	if err == nil && rec.ID != id {
		err = errWrongRecord
	}
	return rec, err
}

// take adds what tok says, and returns its successor.
func (o *outlook) take(ctx context.Context, m *Manager, tok *Token) ID {
	rotated := tok.EndReason == EndRotated && tok.Successor != (ID{})
	switch {
	case rotated && o.due == unknown: // nothing before it lives either
		o.from = tok.Successor
		return tok.Successor
	case rotated:
	case !tok.EndedAt.IsZero() && tok.EndReason != EndExhausted:
		o.cause = expired(tok)
		return ID{}
	default:
		if err := o.takeParents(ctx, m, tok); err != nil {
			o.blind = o.cause == nil
			return ID{}
		}
		o.due = max(o.due, at(tok.ExpiresAt))
	}
	if tok.Successor != (ID{}) {
		o.also = append(o.also, tok.Successor)
	}
	return tok.Successor
}

// takeParents adds those that tok was delegated from, and lowers its expiry to theirs.
// The end of one of them may be seen before it is seen of tok, with which it came.
func (o *outlook) takeParents(ctx context.Context, m *Manager, tok *Token) error {
	if tok.Parent == (ID{}) {
		return nil
	}
	held := *tok
	held.EndedAt, held.EndReason = time.Time{}, 0 // spent is held on
	_, err := m.under(&held, func(id ID) (storage.Record, error) {
		o.also = append(o.also, id)
		return m.store.Get(ctx, id)
	})
	if err == nil && !held.EndedAt.IsZero() {
		o.cause = expired(&held)
	}
	tok.ExpiresAt = held.ExpiresAt
	return err
}
