package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Authenticate returns the token whose text bearer is, and renews it where the
// policy says so. The token's ExpiresAt is the one that is stored: if a renewal
// could not be, the one from before, and Observe is told. (Another renewal, or an
// end, that meets this one in the store may have changed it already.)
//
// For an access text of a session the token is the session, with the scope and the
// ExpiresAt of that text. The previous text of a rotated token is good until its
// instant; it records no use and renews nothing.
//
// A token that is no good is an error that wraps ErrUnauthenticated and carries a
// *Rejection: ErrMalformed, ErrUnknown, ErrReplaced, ErrExpired, ErrExhausted or
// ErrSubjectRefused. It has written nothing. Any other error means that it could not be
// told: the store's (ErrUnavailable, ErrCorrupt, ErrClosed), the context's, or
// CheckSubject's.
//
// It costs one read of the store, and one write when a use is due to be recorded
// (Policy.RenewEvery, whatever the Renewal), however many tokens the subject has. A
// malformed bearer costs neither. A delegate costs one read more for each token above
// it. The first use of a secret that Rotate made is a durable write; if that fails, the
// use is good all the same, and Observe is told.
//
// A use of a budget (Grant.MaxUses) is spent, and its renewal stored, before it
// succeeds: here a failed write is a failed use, and ErrOutcomeUnknown means that it
// may have been spent. The last use returns the token as that ends it, with
// EndExhausted.
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

// authenticate sets tok if bearer is good, and returns the generation of bearer's
// secret. A record is large, and what it costs to copy one shows here: a store in this
// process sets it in its place, and then what everyone sees of it is copied once, to the
// caller.
func (m *Manager) authenticate(ctx context.Context, verb, bearer string, use usage, tok *Token) (generation uint32, err error) {
	var h hashed
	c := h.credential()
	prefix, ok := c.parse(bearer, m.prefix, m.begun)
	if !ok {
		return 0, m.refuse(ErrMalformed)
	}
	if err := m.ready(verb); err != nil {
		return 0, err
	}
	sum := h.sum(m.binding) // before the look-up, which does not wait for it: a processor does both at once
	var rec storage.Record
	if !m.reader.Get(ctx, c.id(), &rec) { // or the store would tell the same
		rec, err = m.store.Get(ctx, c.id())
	}
	now := m.now()
	p := presented{cred: c, sum: &sum, prefix: prefix}
	found, err := m.verify(ctx, verb, &p, &rec, err, now)
	if err != nil {
		return 0, err
	}
	if found == spentText {
		return 0, m.refuse(replaced(&rec, &p))
	}
	generation = p.generation
	if m.earlier(&rec) {
		m.endedByClock(&rec)
	}
	m.viewText(&rec, found)
	var above *lineage
	if !alive(&rec.Token, now) || m.check != nil || rec.Parent != (ID{}) { // or there is nothing to ask
		if above, err = m.admitUnder(ctx, verb, &rec.Token, now); err != nil {
			payTag(c, m.binding)
			return 0, err
		}
	}
	switch {
	case rec.MaxUses == 0:
	case rec.UsesLeft <= 0:
		payTag(c, m.binding)
		return 0, m.refuse(exhausted(&rec.Token))
	case use != useNone:
		*tok, err = m.spend(ctx, verb, &p, rec.Subject, use)
		return generation, err
	}
	if use != useNone && found == currentText {
		m.useNow(ctx, verb, &p, &rec, now, above)
	}
	*tok = rec.Token
	return generation, nil
}

// useNow records that the current secret of rec, which p presents, was used at now.
func (m *Manager) useNow(ctx context.Context, verb string, p *presented, rec *storage.Record, now time.Time, above *lineage) {
	switch {
	case rec.Generation != 0 && unusedSecret(rec):
		m.firstUse(ctx, verb, p, &rec.Token)
	case m.policy.due(&rec.Token, now):
		m.used(ctx, &rec.Token, rec.TTL, now, above)
	}
}

// proved is a text whose secret has been proved, and the record that it names.
type proved struct {
	presented
	rec    storage.Record
	stands standing // currentText, previousText or spentText
	now    time.Time
}

// prove returns the record whose secret bearer holds, or once held, dead or alive.
func (m *Manager) prove(ctx context.Context, verb, bearer string) (p proved, err error) {
	c, ok := new(credential), false
	if p.prefix, ok = c.parse(bearer, m.prefix, m.begun); !ok {
		return p, m.refuse(ErrMalformed)
	}
	if err := m.ready(verb); err != nil {
		return p, err
	}
	sum := c.sum(m.binding)
	p.cred, p.sum = c, &sum
	p.rec, err = m.store.Get(ctx, c.id())
	p.now = m.now()
	p.stands, err = m.verify(ctx, verb, &p.presented, &p.rec, err, p.now)
	return p, err
}

// good is prove, and returns what everyone sees of the token by that text, if it is good
// now.
func (m *Manager) good(ctx context.Context, verb, bearer string) (p proved, tok Token, err error) {
	if p, err = m.prove(ctx, verb, bearer); err == nil {
		tok, err = m.admitProved(ctx, verb, &p)
	}
	return p, tok, err
}

// admitProved is good for a text that has been proved.
func (m *Manager) admitProved(ctx context.Context, verb string, p *proved) (tok Token, err error) {
	if p.stands == spentText {
		return tok, m.refuse(replaced(&p.rec, &p.presented))
	}
	seen := p.rec
	m.endedByClock(&seen)
	m.viewText(&seen, p.stands)
	tok = seen.Token
	if err = m.admit(ctx, verb, &tok, p.now); err == nil && tok.MaxUses != 0 && tok.UsesLeft <= 0 {
		err = m.refuse(exhausted(&tok))
	}
	if err != nil {
		payTag(p.cred, m.binding)
	}
	return tok, err
}

// judged is what a transaction finds of a text that is good.
type judged struct {
	rec    storage.Record
	tok    Token    // what everyone sees of it by that text
	above  *lineage // those that it was delegated from
	stands standing // currentText or previousText
}

// goodIn judges the text p by what tx reads, at now. A text that is good no more is a
// *Rejection.
func (m *Manager) goodIn(tx storage.Tx, p *presented, now time.Time) (j judged, err error) {
	if j.rec, err = getIn(tx, p.cred.id()); err != nil {
		return j, err
	}
	if j.stands, err = stands(&j.rec, p, m.binding, now); err != nil {
		return j, err
	}
	switch j.stands {
	case spentText:
		return j, replaced(&j.rec, p)
	case unknownText, aheadText:
		return j, &Rejection{Err: ErrUnknown, ID: j.rec.ID}
	}
	seen := j.rec
	m.endedByClock(&seen)
	m.viewText(&seen, j.stands)
	j.tok = seen.Token
	if j.above, err = m.under(&j.tok, tx.Get); err != nil {
		return j, err
	}
	switch {
	case !j.tok.Live(now):
		err = expired(&j.tok)
	case j.tok.MaxUses != 0 && j.tok.UsesLeft <= 0:
		err = exhausted(&j.tok)
	}
	return j, err
}

// verify says what the text p is to rec, which the store returned for its ID with err: a
// secret that it has, or had. Any other text is refused. Each of them pays for one
// digest and one tag, whether or not there is a record.
func (m *Manager) verify(ctx context.Context, verb string, p *presented, rec *storage.Record, err error, now time.Time) (standing, error) {
	if err == nil && rec.ID != p.cred.id() {
		err = errWrongRecord
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return unknownText, storeError(verb, err)
	}
	if err != nil || p.prefix != m.prefix || rec.Prefix != m.prefix {
		payTag(p.cred, m.binding)
		return unknownText, m.refuse(&Rejection{Err: ErrUnknown, ID: p.cred.id()})
	}
	found, err := stands(rec, p, m.binding, now)
	return m.verdictOn(ctx, verb, found, err, p, rec, now, stands)
}

// judgeText is a function that says what a text is to a record: stands or standsRefresh.
type judgeText func(rec *storage.Record, p *presented, b binding, now time.Time) (standing, error)

// verdictOn is the rest of verify: judge has found what p is to rec. A text that is ahead
// is judged once more, by the record as a transaction reads it, past any cache; rec is
// that record then.
func (m *Manager) verdictOn(ctx context.Context, verb string, found standing, err error, p *presented, rec *storage.Record, now time.Time, judge judgeText) (standing, error) {
	if err == nil && found == aheadText {
		found, err = m.judgeNow(ctx, p, rec, now, judge)
	}
	switch {
	case err != nil:
		return unknownText, storeError(verb, err)
	case found == aheadText:
		m.tell(Event{Kind: EventAhead, At: now, Token: m.token(rec)})
	case found != unknownText:
		return found, nil
	}
	return unknownText, m.refuse(&Rejection{Err: ErrUnknown, ID: p.cred.id()})
}

// judgeNow judges p by the record as a transaction reads it, which it sets rec to.
func (m *Manager) judgeNow(ctx context.Context, p *presented, rec *storage.Record, now time.Time, judge judgeText) (found standing, err error) {
	kept := p.keep()
	var read storage.Record
	err = m.store.Update(ctx, rec.Subject, func(tx storage.Tx) (err error) {
		if read, err = getIn(tx, kept.cred.id()); err == nil {
			found, err = judge(&read, kept, m.binding, now)
		}
		return err
	})
	if errors.Is(err, ErrNotFound) { // swept meanwhile
		return unknownText, nil
	}
	if err == nil {
		*rec, p.generation = read, kept.generation
	}
	return found, err
}

var (
	errWrongRecord = fmt.Errorf("%w: it answered with another token's record", ErrCorrupt)
	errWrongDigest = fmt.Errorf("%w: a record's digest is missing, or made in a way this version does not know", ErrCorrupt)
)

// admit says why a token whose secret has been proved is not good at now, if so. It
// makes of a delegate what everyone sees of it.
func (m *Manager) admit(ctx context.Context, verb string, tok *Token, now time.Time) error {
	_, err := m.admitUnder(ctx, verb, tok, now)
	return err
}

// admitUnder is admit, and returns who is above tok.
func (m *Manager) admitUnder(ctx context.Context, verb string, tok *Token, now time.Time) (above *lineage, err error) {
	if alive(tok, now) {
		if above, err = m.underStored(ctx, verb, tok); err != nil {
			return nil, err
		}
	}
	return above, m.judge(ctx, verb, tok, now)
}

// judge is what is left of admit once tok is what everyone sees of it.
func (m *Manager) judge(ctx context.Context, verb string, tok *Token, now time.Time) error {
	if !alive(tok, now) {
		return m.refuse(expired(tok))
	}
	return m.permit(ctx, verb, tok)
}

// permit asks CheckSubject about the subject of tok, which has no ID where there is no
// token yet.
func (m *Manager) permit(ctx context.Context, verb string, tok *Token) error {
	if m.check == nil {
		return nil
	}
	err := m.check(ctx, tok.Subject)
	if errors.Is(err, ErrSubjectRefused) {
		return m.refuse(&Rejection{Err: err, ID: tok.ID, Subject: tok.Subject, Generation: tok.Generation})
	}
	if err != nil {
		return fmt.Errorf("lapse: %s: CheckSubject could not tell: %w", verb, noVerdict(err))
	}
	return nil
}

func expired(tok *Token) *Rejection {
	why := ErrExpired
	if tok.EndReason == EndExhausted {
		why = ErrExhausted
	}
	return &Rejection{Err: why, ID: tok.ID, Subject: tok.Subject, Generation: tok.Generation, At: deadFrom(tok), Reason: tok.EndReason}
}

// deadFrom is Token.DeadFrom without a copy of tok, which is large.
func deadFrom(tok *Token) time.Time { return capped(tok.ExpiresAt, tok.EndedAt) }

// replaced refuses the spent text p of rec.
func replaced(rec *storage.Record, p *presented) *Rejection {
	return &Rejection{Err: ErrReplaced, ID: rec.ID, Subject: rec.Subject, Generation: p.generation}
}

// firstUse records the first use of the current secret of tok, which p presents: no
// rotation gives that secret again. That it could not be stored does not unmake the use.
func (m *Manager) firstUse(ctx context.Context, verb string, p *presented, tok *Token) {
	var at time.Time
	var used Token
	var renewed bool
	kept := p.keep()
	err := m.update(ctx, verb, tok.Subject, func(tx storage.Tx, now time.Time) error {
		j, err := m.goodIn(tx, kept, now)
		if err != nil || j.stands != currentText {
			return err
		}
		at, used = now, j.tok
		if changed, err := useSecret(&j.rec); err != nil || !changed {
			return err
		}
		use, _ := m.policy.use(&j.tok, j.rec.TTL, now)
		use.Raise(&j.rec)
		used = m.token(&j.rec)
		j.above.lower(&used)
		renewed = used.ExpiresAt.After(j.tok.ExpiresAt)
		return tx.Put(j.rec)
	})
	switch {
	case errors.Is(err, ErrUnauthenticated): // ended or replaced since it was judged
	case err != nil:
		m.tell(Event{Kind: EventRenewalFailed, At: m.now(), Token: *tok, Err: err})
	case used.ID != (ID{}):
		*tok = used
		if renewed {
			m.tell(Event{Kind: EventRenewed, At: at, Token: used})
		}
	}
}

// used records that tok was used at now, which is due, if that raises something, and
// brings tok up to what everyone sees then. That it could not be stored does not unmake
// the use.
func (m *Manager) used(ctx context.Context, tok *Token, ttl time.Duration, now time.Time, above *lineage) {
	expires, raises := m.policy.dueUse(tok, ttl, now)
	if !raises || m.check != nil && !tok.Live(m.now()) { // CheckSubject took too long to renew by
		return
	}
	if err := m.store.Touch(ctx, tok.ID, storage.Use{At: now, ExpiresAt: expires}); err != nil {
		m.tell(Event{Kind: EventRenewalFailed, At: now, Token: *tok, Err: storeError("renew on use", err)})
		return
	}
	expires = above.soonest(expires)
	renewed := expires.After(tok.ExpiresAt)
	if now.After(tok.LastUsedAt) {
		tok.LastUsedAt = now
	}
	if renewed {
		tok.ExpiresAt = expires
	}
	if renewed && m.observe != nil { // an Event is large
		m.tell(Event{Kind: EventRenewed, At: now, Token: *tok})
	}
}
