package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// Authenticate returns the token whose text bearer is, and renews it where the policy
// says so. ExpiresAt is what is stored: if a renewal could not be, what was stored before,
// and Observe is told. By an access text the token is the session, with the scope and the
// ExpiresAt of that text. The previous text of a rotated token records no use and renews
// nothing.
//
// A token that is no good is an error that wraps ErrUnauthenticated and carries a
// *Rejection: ErrMalformed, ErrUnknown, ErrReplaced, ErrExpired, ErrRevoked, ErrExhausted
// or ErrRefused; nothing has been written. Any other error means that it could not be
// told: the store's, the context's, or Admit's.
//
// It costs one read of the store, one more for each token above a delegate, and one write
// where a use is due to be recorded (Policy.RenewEvery). The first use of a secret that
// Rotate made is a durable write; if that fails, the use is good, and Observe is told.
//
// A use of a budget (Grant.MaxUses) is durable before it succeeds: here a failed write is
// a failed use, and ErrOutcomeUnknown means that it may have been spent. The last use
// returns the token as that ends it, with EndExhausted, unless connections are held by it
// here. With Grant.UseGrace the token lives on for that long instead, and a text of it
// returns the token again, with Token.Repeated, which spends and writes nothing.
func (m *Manager) Authenticate(ctx context.Context, bearer string) (tok Token, err error) {
	_, err = m.authenticate(ctx, "authenticate", bearer, useOnce, &tok)
	return tok, err
}

// Peek returns what Authenticate would, and writes nothing of any kind: a page
// that polls, or a health check, keeps no token alive by it, and spends no use.
func (m *Manager) Peek(ctx context.Context, bearer string) (tok Token, err error) {
	_, err = m.authenticate(ctx, "peek", bearer, useNone, &tok)
	return tok, err
}

// usage says what a check does to the token that it finds good.
type usage uint8

const (
	useNone usage = iota // nothing
	useOnce              // it is a use
	useHeld              // it is a use, and its last one ends the token later
)

// authenticate sets tok if text is good, and returns the generation of its secret. A record is large, and what it costs to copy one shows here: a store in this
// process sets it in its place, and then what everyone sees of it is copied once, to the
// caller.
func (m *Manager) authenticate(ctx context.Context, verb, text string, use usage, tok *Token) (generation uint32, err error) {
	var h bearer.Hashed
	c := h.Credential()
	prefix, ok := c.Parse(text, m.prefix, m.begun)
	if !ok {
		return 0, m.refuse(ctx, ErrMalformed)
	}
	if err := m.ready(ctx, verb); err != nil {
		return 0, err
	}
	sum := h.Sum(m.binding) // before the look-up, which does not wait for it: a processor does both at once
	var rec storage.Record
	if !m.reader.Get(ctx, c.ID(), &rec) { // or the store would tell the same
		rec, err = m.store.Get(ctx, c.ID())
	}
	now := m.now()
	p, found := presented{cred: c, sum: &sum, prefix: prefix, generation: rec.Generation}, currentText
	if err != nil || !m.plainly(&rec, &p) {
		if found, err = m.works(ctx, verb, &p, &rec, err, now); err != nil {
			return 0, err
		}
	}
	generation = p.generation
	if m.fromEarlierEpoch(&rec) {
		m.showClockEnd(&rec)
	}
	m.viewText(&rec, found)
	if !alive(&rec.Token, now) {
		return 0, m.refuseDead(ctx, c, &rec.Token, generation)
	}
	var above *ancestry
	if m.admission != nil || rec.Parent != (ID{}) { // or there is nothing to ask
		if above, err = m.admitUnder(ctx, verb, &rec.Token, generation, now); err == nil {
			err = m.refuseOvertaken(ctx, &rec.Token, rec.Epoch, generation) // Admit may have taken its time
		}
		if err != nil {
			payTag(c, m.binding)
			return 0, err
		}
	}
	switch {
	case rec.MaxUses == 0:
	case rec.UsesLeft <= 0:
		return generation, m.repeat(ctx, c, &rec, generation, use, tok)
	case use != useNone:
		*tok, err = m.spend(ctx, verb, &p, rec.Subject, use)
		return generation, err
	}
	if use != useNone && found == currentText && (rec.Generation != 0 && rec.Kind == KindPlain || m.policy.due(&rec.Token, now)) { // or there is nothing to record
		if err = m.recordUse(ctx, verb, &p, &rec, now, above); err != nil {
			return 0, err
		}
	}
	*tok = rec.Token
	return generation, nil
}

// plainly reports whether p is the current text of rec, a token of m's prefix that was
// never rotated, as verify would find. It saves such a check 3 percent, which is within
// the bound of bench/README.md, "Two versions", because of that.
func (m *Manager) plainly(rec *storage.Record, p *presented) bool {
	return rec.Digest.Matches(storage.SHA256, p.sum) && rec.ID == p.cred.ID() && rec.Kind == KindPlain &&
		rec.Sealed.Len() == 0 && p.prefix == m.prefix && rec.Prefix == m.prefix && !m.refreshes
}

// refuseDead refuses c, the text of tok, which is dead. A check of a live token takes 5
// percent less without the variables of this in its frame.
func (m *Manager) refuseDead(ctx context.Context, c *bearer.Credential, tok *Token, by uint32) error {
	payTag(c, m.binding)
	return m.refuse(ctx, expired(tok, by))
}

// works is verify that refuses a spent text as well.
func (m *Manager) works(ctx context.Context, verb string, p *presented, rec *storage.Record, err error, now time.Time) (standing, error) {
	found, err := m.verify(ctx, verb, p, rec, err, now)
	if err == nil && found == spentText {
		err = m.refuse(ctx, replaced(rec, p))
	}
	return found, err
}

// verify says what the text p is to rec, which the store returned for its ID with err: a
// secret that it has, or had. Any other text is refused. Each of them pays for one
// digest and one tag, whether or not there is a record.
func (m *Manager) verify(ctx context.Context, verb string, p *presented, rec *storage.Record, err error, now time.Time) (standing, error) {
	if err == nil && rec.ID != p.cred.ID() {
		err = errWrongRecord
	}
	if err != nil && !absent(err) {
		return unknownText, storeError(verb, err)
	}
	if err != nil || p.prefix != m.prefix || !m.owns(rec) {
		payTag(p.cred, m.binding)
		return unknownText, m.refuse(ctx, &Rejection{Err: ErrUnknown, ID: p.cred.ID()})
	}
	found, err := m.stands(rec, p, now)
	if err == nil && found == aheadText {
		found, err = m.standsNow(ctx, p, rec, now)
	}
	switch {
	case err != nil:
		return unknownText, storeError(verb, err)
	case found == aheadText:
		m.tell(ctx, Event{Kind: EventAhead, At: now, Token: m.token(rec)})
	case found != unknownText:
		return found, nil
	}
	return unknownText, m.refuse(ctx, &Rejection{Err: ErrUnknown, ID: p.cred.ID()})
}

// standsNow is stands of the record as a transaction reads it, past any cache, which it
// sets rec to.
func (m *Manager) standsNow(ctx context.Context, p *presented, rec *storage.Record, now time.Time) (found standing, err error) {
	kept := p.keep()
	var read storage.Record
	var gone bool
	err = m.store.Update(ctx, rec.Subject, func(tx storage.Tx) (err error) {
		if read, err = getIn(tx, kept.cred.ID()); err == nil {
			found, err = m.stands(&read, kept, now)
		}
		gone = errors.Is(err, errGone)
		return err
	})
	switch {
	case gone: // swept meanwhile
		return unknownText, nil
	case err == nil:
		*rec, p.generation = read, kept.generation
	}
	return found, err
}

var (
	errWrongRecord = fmt.Errorf("%w: it answered with another token's record", ErrCorrupt)
	errWrongDigest = fmt.Errorf("%w: a record's digest is missing, or made in a way this version does not know", ErrCorrupt)
)

// admit says why a token, of which a secret of generation by has been proved, is not good
// at now, if so. It makes of a delegate what everyone sees of it.
func (m *Manager) admit(ctx context.Context, verb string, tok *Token, by uint32, now time.Time) error {
	_, err := m.admitUnder(ctx, verb, tok, by, now)
	return err
}

// admitUnder is admit, and returns who is above tok.
func (m *Manager) admitUnder(ctx context.Context, verb string, tok *Token, by uint32, now time.Time) (above *ancestry, err error) {
	if alive(tok, now) {
		if above, err = m.clampStored(ctx, verb, tok); err != nil {
			return nil, err
		}
	}
	return above, m.judge(ctx, verb, tok, by, now)
}

// judge is what is left of admit once tok is what everyone sees of it.
func (m *Manager) judge(ctx context.Context, verb string, tok *Token, by uint32, now time.Time) error {
	if !alive(tok, now) {
		return m.refuse(ctx, expired(tok, by))
	}
	return m.permit(ctx, verb, tok, by)
}

// permit asks Admit about tok, which has no ID where there is no token yet.
func (m *Manager) permit(ctx context.Context, verb string, tok *Token, by uint32) error {
	if m.admission == nil {
		return nil
	}
	err := m.admission(ctx, *tok)
	if errors.Is(err, ErrRefused) {
		err = fromOutside(err, ErrUnauthenticated, ErrRefused)
		return m.refuse(ctx, &Rejection{Err: err, ID: tok.ID, Subject: tok.Subject, Generation: by})
	}
	if err != nil {
		return fmt.Errorf("lapse: %s: Admit could not tell: %w", verb, fromOutside(err, ErrUnavailable))
	}
	return nil
}

// expired refuses a secret of generation by of tok, which is dead.
func expired(tok *Token, by uint32) *Rejection {
	why := ErrExpired
	switch {
	case tok.EndReason == EndExhausted, tok.EndedAt.IsZero() && tok.MaxUses != 0 && tok.UsesLeft <= 0:
		why = ErrExhausted
	case !tok.EndedAt.IsZero():
		why = ErrRevoked
	}
	return &Rejection{Err: why, ID: tok.ID, Subject: tok.Subject, Generation: by, At: deadFrom(tok), Reason: tok.EndReason}
}

// deadFrom is Token.DeadFrom without a copy of tok, which is large.
func deadFrom(tok *Token) time.Time { return capped(tok.ExpiresAt, tok.EndedAt) }

// replaced refuses the spent text p of rec.
func replaced(rec *storage.Record, p *presented) *Rejection {
	return &Rejection{Err: ErrReplaced, ID: rec.ID, Subject: rec.Subject, Generation: p.generation}
}
