package lapse

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Expire ends the token of id, of whatever prefix, with all that was delegated from it
// in the same transaction, and says whether that took anything: a token that has been
// ended or has run out already, or is unknown, is false and no error, so it may be
// repeated. (A delegate has run out with any of those above it.) One that a lowered
// MaxTTL keeps out is ended for good. It is durable before it returns. The record stays
// and says EndExpired.
func (m *Manager) Expire(ctx context.Context, id ID) (ended bool, err error) {
	if err := m.ready("expire"); err != nil {
		return false, err
	}
	rec, err := m.store.Get(ctx, id)
	if err == nil && rec.ID != id {
		err = errWrongRecord
	}
	if errors.Is(err, ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, storeError("expire", err)
	}
	_, ended, err = m.expire(ctx, "expire", rec.Subject, id)
	if errors.Is(err, ErrNotFound) { // swept meanwhile
		return false, nil
	}
	return ended, err
}

// ExpireBearer ends the token whose text bearer is, with all that was delegated from
// it, as its holder logs out. It returns the token as it is then. One that is dead
// already is no error: what was asked for is so. CheckSubject is not asked. It is
// durable before it returns.
//
// Errors are ErrMalformed and ErrUnknown, or the store's, ErrOutcomeUnknown among
// them. (RFC 7009 section 2.2 answers the first two like a success.)
func (m *Manager) ExpireBearer(ctx context.Context, bearer string) (Token, error) {
	rec, err := m.prove(ctx, "expire bearer", bearer)
	if err != nil {
		return Token{}, err
	}
	tok, _, err := m.expire(ctx, "expire bearer", rec.Subject, rec.ID)
	if errors.Is(err, ErrNotFound) { // swept meanwhile
		tok = m.token(&rec)
		if _, err = m.underStored(ctx, "expire bearer", &tok); errors.Is(err, ErrCorrupt) {
			err = nil
		}
	}
	if err != nil {
		return Token{}, err
	}
	return tok, nil
}

// expire ends one token, and what was delegated from it, if it lasts, and returns it as
// it is then. That a policy keeps it out is no end: another policy would let it in
// again.
func (m *Manager) expire(ctx context.Context, verb, subject string, id ID) (tok Token, ended bool, err error) {
	var all []Token
	err = m.update(ctx, verb, subject, func(tx storage.Tx, now time.Time) error {
		all = nil
		rec, err := getIn(tx, id)
		if err != nil {
			return err
		}
		m.endedByClock(&rec)
		alive, err := lasts(&rec, now, tx.Get)
		if err != nil {
			return err
		}
		if alive {
			all, err = m.endTied(tx, id, EndExpired, now)
			return err
		}
		tok = m.token(&rec)
		if _, err := m.under(&tok, tx.Get); !errors.Is(err, ErrCorrupt) { // it is dead, whatever is above it
			return err
		}
		return nil
	})
	if err != nil || len(all) == 0 {
		return tok, false, err
	}
	m.tellEnded(all)
	return all[0], true, nil
}

// ExpireSubject logs subject out everywhere: it ends all of its tokens that have
// neither been ended nor run out, of every prefix, but those named in keep, in one
// transaction, and says how many it ended. One to keep that was delegated from one that
// ends is ended all the same. Tokens issued later live. A damaged
// record is denied as it is and left alone. It is durable before it returns.
//
// ErrInvalidGrant means that no token can have such a subject. An error means
// that none was ended, unless it is ErrOutcomeUnknown.
func (m *Manager) ExpireSubject(ctx context.Context, subject string, keep ...ID) (ended int, err error) {
	if err := checkSubject(subject); err != nil {
		return 0, err
	}
	if err := m.ready("expire subject"); err != nil {
		return 0, err
	}
	var tokens []Token
	err = m.update(ctx, "expire subject", subject, func(tx storage.Tx, now time.Time) error {
		tokens = nil
		ids, err := m.lasting(tx, now)
		if err != nil {
			return err
		}
		for _, id := range ids {
			if slices.Contains(keep, id) {
				continue
			}
			tok, err := m.end(tx, id, EndSubject, now)
			if err != nil {
				return err
			}
			tokens = append(tokens, tok)
		}
		if len(keep) > 0 {
			tokens, err = m.endDelegates(tx, tokens, now)
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	m.tellEnded(tokens)
	return len(tokens), nil
}

// lasting returns the IDs of the subject's tokens that last.
func (m *Manager) lasting(tx storage.Tx, now time.Time) (ids []ID, err error) {
	for rec, err := range tx.Records() {
		if errors.Is(err, ErrCorrupt) {
			continue // denied as it is
		}
		if err != nil {
			return nil, err
		}
		m.endedByClock(&rec)
		alive, err := lasts(&rec, now, tx.Get)
		if err != nil {
			return nil, err
		}
		if alive {
			ids = append(ids, rec.ID)
		}
	}
	return ids, nil
}
