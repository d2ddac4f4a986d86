package lapse

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Expire ends the token or session of id, of any prefix, and all its delegates, in one
// transaction. The end is durable before Expire returns. The record stays, with EndRevoked.
//
// Expire reports whether it ended the token. For a token that is unknown, has been ended, or has
// run out by its record or one above it, it returns false and no error, so it may be called
// again. It also ends a token that is dead only because MaxTTL was lowered.
func (m *Manager) Expire(ctx context.Context, id ID) (ended bool, err error) {
	verb := m.begin(VerbExpire, &err)
	defer m.finish(ctx, &verb, &err)
	if err := m.ready(ctx, &verb); err != nil {
		return false, err
	}
	ended, err = m.expire(ctx, &verb, id)
	if errors.Is(err, errGone) {
		return false, nil
	}
	return ended, err
}

// ExpireBearer logs a client out: it ends the token whose text is bearer, and all its delegates.
// By an access text it ends the session, so that the refresh text is dead as well. It returns
// the token as it is then. The previous text of a rotated token, and any replaced access text,
// end it as the current text does. It is no error if the token is dead already. Admit is not
// asked. The end is durable before ExpireBearer returns.
//
// Errors are ErrMalformed, ErrUnknown, ErrReplaced for a replaced text of a plain token, which
// ends nothing, or the store's, ErrOutcomeUnknown among them. (RFC 7009 section 2.2 answers the
// first three like a success.)
func (m *Manager) ExpireBearer(ctx context.Context, bearer string) (tok Token, err error) {
	verb := m.begin(VerbExpireBearer, &err)
	defer m.finish(ctx, &verb, &err)
	return m.expireBearer(ctx, &verb, bearer)
}

// expireBearer is ExpireBearer, and does not count verb.
func (m *Manager) expireBearer(ctx context.Context, verb *call, bearer string) (Token, error) {
	if m.byID != nil {
		if tok, err := m.expireBearerAtOnce(ctx, verb, bearer); !unproven(err) {
			return tok, err
		}
	}
	p, err := m.prove(ctx, verb, bearer)
	if err != nil {
		return Token{}, err
	}
	tok, err := m.logOut(ctx, verb, &p.presented, func(fn func(storage.Tx, time.Time) error) error {
		return m.update(ctx, verb, p.rec.Subject, fn)
	})
	if errors.Is(err, errGone) { // swept meanwhile
		tok = m.token(&p.rec)
		if _, err = m.clampStored(ctx, verb.Verb, &tok); errors.Is(err, ErrCorrupt) {
			err = nil
		}
	}
	if err != nil {
		return Token{}, m.verdict(ctx, verb, p.rec.ID, err)
	}
	return tok, nil
}

// expireBearerAtOnce is expireBearer for a text that is good: its transaction proves the text. For any
// other text unproven reports true of the error, and nothing has happened.
func (m *Manager) expireBearerAtOnce(ctx context.Context, verb *call, bearer string) (Token, error) {
	var h hashedText
	if err := m.parse(ctx, verb, bearer, &h); err != nil {
		return Token{}, err
	}
	text := h.presented()
	if text.prefix != m.prefix {
		return Token{}, errUnproven
	}
	p := text.keep()
	return m.logOut(ctx, verb, p, func(fn func(storage.Tx, time.Time) error) error {
		return m.updateByID(ctx, verb, p.cred.ID(), m.ifProven(ctx, p, fn))
	})
}

// logOut ends the token that p proves and returns it, unless p is a spent text of a plain token:
// then the error is ErrReplaced. A spent refresh text ends its session with EndReused, and
// Observe is told of the reuse.
func (m *Manager) logOut(ctx context.Context, verb *call, p *presented, update func(func(storage.Tx, time.Time) error) error) (tok Token, err error) {
	var all []Token
	var found standing
	err = update(func(tx storage.Tx, now time.Time) error {
		all = nil
		rec, err := getIn(tx, p.cred.ID())
		if err != nil {
			return err
		}
		why := EndRevoked
		switch found, err = m.match(&rec, p, now); {
		case err != nil:
			return err
		case found == unknownText, found == aheadText:
			return &Rejection{Err: ErrUnknown, ID: rec.ID}
		case found == spentText && m.refreshes:
			why = EndReused
		case found == spentText && rec.Kind == KindPlain:
			return replaced(&rec, p)
		}
		tok, all, err = m.endIfLive(tx, &rec, ending{now, why, actorOf(ctx)})
		return err
	})
	if err != nil {
		return Token{}, err
	}
	if found == spentText && m.refreshes {
		_ = m.refuse(ctx, verb, reused(&tok, p))
	}
	m.tellEnded(ctx, verb, all)
	return tok, nil
}

// endIfLive ends the token of rec, which tx has read, and its delegates, if its records say that
// it is alive. It applies no policy, because another policy may accept the token. It returns the
// token as it is then, and all tokens that it ended.
func (m *Manager) endIfLive(tx storage.Tx, rec *storage.Record, e ending) (tok Token, all []Token, err error) {
	m.showClockEnd(rec)
	alive, err := liveByRecord(rec, e.at, tx.Get)
	if err != nil {
		return tok, nil, err
	}
	if alive {
		if all, err = m.endWithDelegates(tx, rec.ID, e); err != nil {
			return tok, nil, err
		}
		return all[0], all, nil
	}
	tok, err = m.tokenIn(tx, rec)
	return tok, nil, err
}

// tokenIn returns the token of rec, which tx has read, as callers see it. A damaged record above does
// not matter: it neither ends nor suspends rec.
func (m *Manager) tokenIn(tx storage.Tx, rec *storage.Record) (tok Token, err error) {
	tok = m.token(rec)
	if _, err = m.clamp(&tok, tx.Get); damaged(err) {
		err = nil
	}
	return tok, err
}

// expire ends the token of id and its delegates, and reports whether the token was alive. The
// error is errGone if there is no such token.
func (m *Manager) expire(ctx context.Context, verb *call, id ID) (ended bool, err error) {
	var all []Token
	err = m.updateByID(ctx, verb, id, func(tx storage.Tx, now time.Time) error {
		all = nil
		rec, err := getIn(tx, id)
		if err != nil {
			return err
		}
		_, all, err = m.endIfLive(tx, &rec, ending{now, EndRevoked, actorOf(ctx)})
		return err
	})
	if err != nil {
		return false, err
	}
	m.tellEnded(ctx, verb, all)
	return len(all) > 0, nil
}

// ExpireSubject logs subject out everywhere: it ends all live tokens of subject, of every prefix,
// except those that keep names, in one transaction, and returns how many it ended. A session
// counts as one. The ends are durable before ExpireSubject returns. Tokens that are issued later
// live.
//
// keep may name IDs that were noted long ago, because a refresh or a rotation changes no ID. A
// delegate of a token that ends is ended even if keep names it. A damaged record is left alone,
// and every verb refuses its token.
//
// ErrInvalidGrant means that no token can have such a subject. An error means that no token was
// ended, unless it is ErrOutcomeUnknown.
func (m *Manager) ExpireSubject(ctx context.Context, subject string, keep ...ID) (ended int, err error) {
	verb := m.begin(VerbExpireSubject, &err)
	defer m.finish(ctx, &verb, &err)
	if err := checkStoredSubject(subject); err != nil {
		return 0, err
	}
	if err := m.ready(ctx, &verb); err != nil {
		return 0, err
	}
	var tokens []Token
	err = m.update(ctx, &verb, subject, func(tx storage.Tx, now time.Time) (err error) {
		tokens, err = m.endAll(tx, keep, ending{now, EndSubject, actorOf(ctx)})
		return err
	})
	if err != nil {
		return 0, err
	}
	m.tellEnded(ctx, &verb, tokens)
	return len(tokens), nil
}

// endAll ends the live tokens of the subject, except those in keep, and the delegates of what it
// ended. It returns them all.
func (m *Manager) endAll(tx storage.Tx, keep []ID, e ending) (ended []Token, err error) {
	ids, err := m.liveIDs(tx, e.at)
	if err != nil {
		return nil, err
	}
	ended = make([]Token, 0, len(ids)) // tokens are large: growing cost a fifth of this, for 100,000
	for _, id := range ids {
		if slices.Contains(keep, id) {
			continue
		}
		tok, err := m.end(tx, id, e)
		if err != nil {
			return nil, err
		}
		ended = append(ended, tok)
	}
	if len(keep) == 0 {
		return ended, nil
	}
	return m.endDelegates(tx, ended, e)
}

// liveIDs returns the IDs of the subject's tokens that are alive by their records.
func (m *Manager) liveIDs(tx storage.Tx, now time.Time) (ids []ID, err error) {
	for rec, err := range readable(tx.Living(now)) {
		if err != nil {
			return nil, err
		}
		m.showClockEnd(&rec)
		alive, err := liveByRecord(&rec, now, tx.Get)
		if err != nil {
			return nil, err
		}
		if alive {
			ids = append(ids, rec.ID)
		}
	}
	return ids, nil
}
