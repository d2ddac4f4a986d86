package lapse

import (
	"context"
	"crypto/sha256"
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
// A token that is no good is an error that wraps ErrUnauthenticated and carries a
// *Rejection: ErrMalformed, ErrUnknown, ErrExpired, ErrExhausted or ErrSubjectRefused.
// It has written nothing. Any other error means that it could not be told: the store's
// (ErrUnavailable, ErrCorrupt, ErrClosed), the context's, or CheckSubject's.
//
// It costs one read of the store, and one write when a use is due to be recorded
// (Policy.RenewEvery, whatever the Renewal), however many tokens the subject has. A
// malformed bearer costs neither. A delegate costs one read more for each token above
// it.
//
// A use of a budget (Grant.MaxUses) is spent, and its renewal stored, before it
// succeeds: here a failed write is a failed use, and ErrOutcomeUnknown means that it
// may have been spent. The last use returns the token as that ends it, with
// EndExhausted.
func (m *Manager) Authenticate(ctx context.Context, bearer string) (tok Token, err error) {
	err = m.authenticate(ctx, "authenticate", bearer, true, &tok)
	return tok, err
}

// Peek returns what Authenticate would, and writes nothing of any kind: a page
// that polls, or a health check, keeps no token alive by it, and spends no use.
func (m *Manager) Peek(ctx context.Context, bearer string) (tok Token, err error) {
	err = m.authenticate(ctx, "peek", bearer, false, &tok)
	return tok, err
}

// authenticate sets tok if bearer is good. A record is large, and what it costs to
// copy one shows here: a store in this process sets it in its place, and then what
// everyone sees of it is copied once, to the caller.
func (m *Manager) authenticate(ctx context.Context, verb, bearer string, use bool, tok *Token) error {
	var h hashed
	c := h.credential()
	prefix, ok := c.parse(bearer, m.prefix, m.begun)
	if !ok {
		return m.refuse(ErrMalformed)
	}
	if err := m.ready(verb); err != nil {
		return err
	}
	sum := h.sum(m.tag) // before the look-up, which does not wait for it: a processor does both at once
	var rec storage.Record
	var err error
	if !m.reader.Get(ctx, c.id(), &rec) { // or the store would tell the same
		rec, err = m.store.Get(ctx, c.id())
	}
	if err := m.verify(verb, c, &sum, prefix, &rec, err); err != nil {
		return err
	}
	now := m.now()
	if m.earlier(&rec) {
		m.endedByClock(&rec)
	}
	m.policy.view(&rec.Token)
	var above *lineage
	if !alive(&rec.Token, now) || m.check != nil || rec.Parent != (ID{}) { // or there is nothing to ask
		if above, err = m.admitUnder(ctx, verb, &rec.Token, now); err != nil {
			return err
		}
	}
	switch {
	case rec.MaxUses == 0:
	case rec.UsesLeft <= 0: // in a store that lost the end of the last use
		return m.refuse(exhausted(&rec.Token))
	case use:
		*tok, err = m.spend(ctx, verb, rec.ID, rec.Subject)
		return err
	}
	if use && m.policy.due(&rec.Token, now) {
		m.used(ctx, &rec.Token, rec.TTL, now, above)
	}
	*tok = rec.Token
	return nil
}

// prove returns the record whose secret bearer holds, dead or alive.
func (m *Manager) prove(ctx context.Context, verb, bearer string) (storage.Record, error) {
	var c credential
	prefix, ok := c.parse(bearer, m.prefix, m.begun)
	if !ok {
		return storage.Record{}, m.refuse(ErrMalformed)
	}
	if err := m.ready(verb); err != nil {
		return storage.Record{}, err
	}
	sum := c.sum(m.tag)
	rec, err := m.store.Get(ctx, c.id())
	return rec, m.verify(verb, &c, &sum, prefix, &rec, err)
}

// good is prove, and returns what everyone sees of the token, if it is good now.
func (m *Manager) good(ctx context.Context, verb, bearer string) (rec storage.Record, tok Token, err error) {
	if rec, err = m.prove(ctx, verb, bearer); err != nil {
		return rec, tok, err
	}
	tok = m.token(&rec)
	return rec, tok, m.admit(ctx, verb, &tok, m.now())
}

// verify says why rec, which the store returned for c with err, is not the record of
// whoever holds c, if so. sum is that of c: it is computed and compared for a token that
// does not exist as for one whose secret or prefix is another.
func (m *Manager) verify(verb string, c *credential, sum *[sha256.Size]byte, prefix string, rec *storage.Record, err error) error {
	if err == nil && rec.ID != c.id() {
		err = errWrongRecord
	}
	if err != nil && !errors.Is(err, ErrNotFound) {
		return storeError(verb, err)
	}
	proved := rec.Digest.Matches(storage.SHA256, sum)
	if err == nil && !proved && rec.Digest.Algorithm() != storage.SHA256 {
		return storeError(verb, errWrongDigest)
	}
	if err != nil || !proved || prefix != m.prefix || rec.Prefix != m.prefix {
		return m.refuse(&Rejection{Err: ErrUnknown, ID: c.id()})
	}
	return nil
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
	if tok.Live(now) {
		if above, err = m.underStored(ctx, verb, tok); err != nil {
			return nil, err
		}
	}
	return above, m.judge(ctx, verb, tok, now)
}

// judge is what is left of admit once tok is what everyone sees of it.
func (m *Manager) judge(ctx context.Context, verb string, tok *Token, now time.Time) error {
	if !tok.Live(now) {
		return m.refuse(expired(tok))
	}
	return m.permit(ctx, verb, tok.ID, tok.Subject)
}

// permit asks CheckSubject. id is that of the subject's token, zero where there is none
// yet.
func (m *Manager) permit(ctx context.Context, verb string, id ID, subject string) error {
	if m.check == nil {
		return nil
	}
	err := m.check(ctx, subject)
	if errors.Is(err, ErrSubjectRefused) {
		return m.refuse(&Rejection{Err: err, ID: id, Subject: subject})
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
	return &Rejection{Err: why, ID: tok.ID, Subject: tok.Subject, At: tok.DeadFrom(), Reason: tok.EndReason}
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
