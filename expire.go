package lapse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Expire ends the token or session of id, of whatever prefix, with all that was delegated from it
// in the same transaction, and says whether that took anything: a token that has been
// ended or has run out already, or is unknown, is false and no error, so it may be
// repeated. (A delegate has run out with any of those above it.) One that a lowered
// MaxTTL keeps out is ended for good. It is durable before it returns. The record stays
// and says EndRevoked.
func (m *Manager) Expire(ctx context.Context, id ID) (ended bool, err error) {
	if err := m.ready(ctx, "expire"); err != nil {
		return false, err
	}
	rec, err := m.record(ctx, id)
	if errors.Is(err, errGone) {
		return false, nil
	}
	if err != nil {
		return false, storeError("expire", err)
	}
	ended, err = m.expire(ctx, "expire", rec.Subject, id)
	if errors.Is(err, errGone) { // swept meanwhile
		return false, nil
	}
	return ended, err
}

// ExpireBearer ends the token whose text bearer is, with all that was delegated from
// it, as its holder logs out; by an access text it ends the session, whose refresh text
// then works no more either. It returns the token as it is then. The previous text of a
// rotated token, and any access text that was replaced, end it as the current one does.
// A token that is dead already is no error. Admit is not asked. It is durable
// before it returns.
//
// Errors are ErrMalformed, ErrUnknown, ErrReplaced for a text of a plain token that was
// replaced, which ends nothing, or the store's, ErrOutcomeUnknown among them. (RFC 7009
// section 2.2 answers the first three like a success.)
func (m *Manager) ExpireBearer(ctx context.Context, bearer string) (Token, error) {
	return m.expireBearer(ctx, "expire bearer", bearer)
}

// expireBearer is ExpireBearer for a verb of that name.
func (m *Manager) expireBearer(ctx context.Context, verb, bearer string) (Token, error) {
	p, err := m.prove(ctx, verb, bearer)
	if err != nil {
		return Token{}, err
	}
	tok, err := m.logOut(ctx, verb, &p)
	if errors.Is(err, errGone) { // swept meanwhile
		tok = m.token(&p.rec)
		if _, err = m.clampStored(ctx, verb, &tok); errors.Is(err, ErrCorrupt) {
			err = nil
		}
	}
	if err != nil {
		return Token{}, m.verdict(ctx, p.rec.ID, err)
	}
	return tok, nil
}

// logOut ends the token that p proves, unless p is a spent text of a plain token. By a
// spent refresh text the session ends as by its reuse, and Observe is told.
func (m *Manager) logOut(ctx context.Context, verb string, p *proved) (tok Token, err error) {
	var all []Token
	var found standing
	err = m.update(ctx, verb, p.rec.Subject, func(tx storage.Tx, now time.Time) error {
		all = nil
		rec, err := getIn(tx, p.rec.ID)
		if err != nil {
			return err
		}
		why := EndRevoked
		switch found, err = m.stands(&rec, &p.presented, now); {
		case err != nil:
			return err
		case found == unknownText, found == aheadText:
			return &Rejection{Err: ErrUnknown, ID: rec.ID}
		case found == spentText && m.refreshes:
			why = EndReused
		case found == spentText && rec.Kind == KindPlain:
			return replaced(&rec, &p.presented)
		}
		tok, all, err = m.endIfLive(tx, &rec, why, now)
		return err
	})
	if err != nil {
		return Token{}, err
	}
	if found == spentText && m.refreshes {
		_ = m.refuse(ctx, reused(&tok, &p.presented))
	}
	m.tellEnded(ctx, all)
	return tok, nil
}

// endIfLive ends the token of rec, which tx has read, and what was delegated from it, if it
// lasts. It returns the token as it is then, and all that it ended. That a policy keeps a
// token out is no end: another policy would let it in again.
func (m *Manager) endIfLive(tx storage.Tx, rec *storage.Record, why EndReason, now time.Time) (tok Token, all []Token, err error) {
	m.showClockEnd(rec)
	alive, err := liveByRecord(rec, now, tx.Get)
	if err != nil {
		return tok, nil, err
	}
	if alive {
		if all, err = m.endWithDelegates(tx, rec.ID, why, now); err != nil {
			return tok, nil, err
		}
		return all[0], all, nil
	}
	tok = m.token(rec)
	if _, err := m.clamp(&tok, tx.Get); !errors.Is(err, ErrCorrupt) { // it is dead, whatever is above it
		return tok, nil, err
	}
	return tok, nil, nil
}

// expire ends the token of id, and what was delegated from it, if it lasts, and reports
// whether it did.
func (m *Manager) expire(ctx context.Context, verb, subject string, id ID) (ended bool, err error) {
	var all []Token
	err = m.update(ctx, verb, subject, func(tx storage.Tx, now time.Time) error {
		all = nil
		rec, err := getIn(tx, id)
		if err != nil {
			return err
		}
		_, all, err = m.endIfLive(tx, &rec, EndRevoked, now)
		return err
	})
	if err != nil {
		return false, err
	}
	m.tellEnded(ctx, all)
	return len(all) > 0, nil
}

// ExpireSubject logs subject out everywhere: it ends all of its tokens that have
// neither been ended nor run out, of every prefix, but those named in keep, in one
// transaction, and says how many it ended: a session counts once. The ID of a session or
// token is the same after each refresh and rotation, so keep may name IDs that were noted
// long ago. One to keep that was delegated from one that
// ends is ended all the same. Tokens issued later live. A damaged
// record is denied as it is and left alone. It is durable before it returns.
//
// ErrInvalidGrant means that no token can have such a subject. An error means
// that none was ended, unless it is ErrOutcomeUnknown.
func (m *Manager) ExpireSubject(ctx context.Context, subject string, keep ...ID) (ended int, err error) {
	if err := checkStoredSubject(subject); err != nil {
		return 0, err
	}
	if err := m.ready(ctx, "expire subject"); err != nil {
		return 0, err
	}
	var tokens []Token
	err = m.update(ctx, "expire subject", subject, func(tx storage.Tx, now time.Time) error {
		tokens = nil
		ids, err := m.liveIDs(tx, now)
		if err != nil {
			return err
		}
		tokens = make([]Token, 0, len(ids)) // which are large: growing cost a fifth of this, for 100,000
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
	m.tellEnded(ctx, tokens)
	return len(tokens), nil
}

// liveIDs returns the IDs of the subject's tokens that last.
func (m *Manager) liveIDs(tx storage.Tx, now time.Time) (ids []ID, err error) {
	for rec, err := range readable(tx.Living(now)) { // a damaged one is denied as it is
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

// end is the only way to die but running out: the record stays, with the instant
// and the reason. It returns the token as it is then.
func (m *Manager) end(tx storage.Tx, id ID, why EndReason, now time.Time) (Token, error) {
	rec, err := getIn(tx, id)
	if err != nil {
		return Token{}, err
	}
	rec.EndedAt, rec.EndReason = now, why
	if err := putIn(tx, &rec); err != nil {
		return Token{}, fmt.Errorf("end %v: %w", id, err)
	}
	return m.token(&rec), nil
}

// endWithDelegates is end for the token of id and, with EndParent, for every token that was
// delegated from it, near or far. It returns them as they are then, the token of id
// first.
func (m *Manager) endWithDelegates(tx storage.Tx, id ID, why EndReason, now time.Time) ([]Token, error) {
	tok, err := m.end(tx, id, why, now)
	if err != nil {
		return nil, err
	}
	ended := []Token{tok}
	if tok.Family == (ID{}) { // then nothing was delegated from it
		return ended, nil
	}
	return m.endDelegates(tx, ended, now)
}

// endDelegates ends, with EndParent, what was delegated from those that have been
// ended and still lives by its record, near or far, and appends it to them.
func (m *Manager) endDelegates(tx storage.Tx, ended []Token, now time.Time) ([]Token, error) {
	delegates, err := delegatesIn(tx, now)
	if err != nil {
		return nil, err
	}
	for i := 0; i < len(ended); i++ {
		for _, id := range delegates[ended[i].ID] {
			tok, err := m.end(tx, id, EndParent, now)
			if err != nil {
				return nil, err
			}
			ended = append(ended, tok)
		}
	}
	return ended, nil
}

// endRotatedDelegates ends what was delegated from the token of id, which lives on under
// another secret: its own delegates with EndRotated, theirs with EndParent.
func (m *Manager) endRotatedDelegates(tx storage.Tx, id ID, now time.Time) (ended []Token, err error) {
	delegates, err := delegatesIn(tx, now)
	if err != nil {
		return nil, err
	}
	for _, id := range delegates[id] {
		tok, err := m.end(tx, id, EndRotated, now)
		if err != nil {
			return nil, err
		}
		ended = append(ended, tok)
	}
	if len(ended) == 0 {
		return nil, nil
	}
	return m.endDelegates(tx, ended, now)
}

// delegatesIn returns the IDs of the delegates that live by their records, by parent. A
// damaged record is denied as it is.
func delegatesIn(tx storage.Tx, now time.Time) (map[ID][]ID, error) {
	delegates := make(map[ID][]ID)
	for rec, err := range readable(tx.Living(now)) {
		if err != nil {
			return nil, err
		}
		if rec.Parent != (ID{}) && rec.Live(now) {
			delegates[rec.Parent] = append(delegates[rec.Parent], rec.ID)
		}
	}
	return delegates, nil
}
