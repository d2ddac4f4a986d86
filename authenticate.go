package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// Authenticate returns the token whose text bearer is, and renews the token where the
// policy says so. ExpiresAt is the expiry that is stored. A renewal that could not be
// stored does not move it, and Observe is told. For an access text the token is the
// session, with the scope and the ExpiresAt of that text. The previous text of a rotated
// token records no use and renews nothing.
//
// For a text that is no good the error wraps ErrUnauthenticated and carries a *Rejection:
// ErrMalformed, ErrUnknown, ErrProof, ErrReplaced, ErrExpired, ErrRevoked, ErrSuspended,
// ErrExhausted or ErrRefused. Then nothing has been written, except that the use may be stored if a
// new epoch of the clock ended the token meanwhile. Any other error is one of the store, of the
// context or of Admit, and means that Authenticate could not tell.
//
// Authenticate reads the store once, and once more for a foreign text (Config.Foreign) and
// for each token above a delegate. For a text of a later generation than the record has, it
// reads the record once more, in a transaction that sees past every cache. It writes once
// where a use is due to be recorded (Policy.RenewEvery). The first use of a secret that
// Rotate made is a durable write. If that write fails, the use is good, and Observe is told.
//
// A use of a budget (Grant.MaxUses) is durable before it succeeds: a write that fails is a
// use that fails, and ErrOutcomeUnknown means that the use may have been spent. The last
// use ends the token, and returns it with EndExhausted. If connections are held by the
// token in this process, the last of them ends it instead. With Grant.UseGrace the token
// lives on for that grace, and a text of it returns the token again, with Token.Repeated.
// Such a repetition spends and writes nothing.
func (m *Manager) Authenticate(ctx context.Context, bearer string) (tok Token, err error) {
	verb := m.begin(VerbAuthenticate, &err)
	defer m.finish(ctx, &verb, &err)
	_, err = m.authenticate(ctx, &verb, bearer, useOnce, &tok)
	return tok, err
}

// Peek returns what Authenticate would return, and writes nothing. A page that polls, or a
// health check, keeps no token alive by Peek, and spends no use.
func (m *Manager) Peek(ctx context.Context, bearer string) (tok Token, err error) {
	verb := m.begin(VerbPeek, &err)
	defer m.finish(ctx, &verb, &err)
	_, err = m.authenticate(ctx, &verb, bearer, useNone, &tok)
	return tok, err
}

// usage says what a check does to the token that it finds good.
type usage uint8

const (
	useNone usage = iota // nothing
	useOnce              // the check is a use
	useHeld              // the check is a use by Hold: the last use ends the token when its last connection ends
)

// authenticate sets *tok to the token whose text is given, if the text is good, and
// returns the generation of its secret. Any other text is refused.
//
// A record is large. So load writes it into its place, and only the token is copied, once,
// to the caller. The secret is hashed before the record is looked up, in the place where
// Parse decoded it: without that, BenchmarkAuthenticate takes 10 percent longer. A
// token that has no parent and is not suspended is not passed to admit where there is no
// Admit, which saves another 15 percent.
func (m *Manager) authenticate(ctx context.Context, verb *call, text string, use usage, tok *Token) (generation uint32, err error) {
	var h bearer.Hashed
	c := h.Credential()
	prefix, ok := c.Parse(text, m.prefix)
	if !ok {
		return m.authenticateForeign(ctx, verb, text, use, tok)
	}
	if err := m.ready(ctx, verb); err != nil {
		return 0, err
	}
	sum := h.Sum(m.binding)
	p := presented{cred: c, sum: &sum, prefix: prefix}
	return m.authenticateParsed(ctx, verb, &p, use, tok)
}

// authenticateForeign is authenticate for a text that is not of the form of lapse. That authenticate
// does itself what parse does for any other text saves 11 percent (BenchmarkAuthenticate).
func (m *Manager) authenticateForeign(ctx context.Context, verb *call, text string, use usage, tok *Token) (generation uint32, err error) {
	var h hashedText
	if err := m.parse(ctx, verb, text, &h); err != nil {
		return 0, err
	}
	p := h.presented()
	return m.authenticateParsed(ctx, verb, &p, use, tok)
}

// authenticateParsed is authenticate for a text that parse has read.
func (m *Manager) authenticateParsed(ctx context.Context, verb *call, p *presented, use usage, tok *Token) (generation uint32, err error) {
	c := p.cred
	var rec storage.Record
	now, admitted, err := m.loadGood(ctx, p, use, &rec)
	found, err := m.proveWorking(ctx, verb, p, &rec, err, now)
	if err != nil {
		return 0, err
	}
	if m.fromEarlierEpoch(&rec) {
		m.showClockEnd(&rec)
	}
	m.viewText(&rec, found)
	if !alive(&rec.Token, now) {
		return 0, m.refuseDead(ctx, verb, c, &rec.Token, p.generation)
	}
	var above *ancestry
	if !admitted && (m.admission != nil || rec.Parent != (ID{}) || !rec.SuspendedAt.IsZero()) {
		if above, err = m.admitText(ctx, verb, c, &rec, p.generation, now); err != nil {
			return 0, err
		}
	}
	return p.generation, m.useText(ctx, verb, p, &rec, found, use, now, above, tok)
}

// useText spends a use of the budget of rec, or records the use where that is due, and sets
// *tok. The text p of rec is good at now, and above are the tokens above a delegate.
func (m *Manager) useText(ctx context.Context, verb *call, p *presented, rec *storage.Record, found standing, use usage, now time.Time, above *ancestry, tok *Token) (err error) {
	switch {
	case rec.MaxUses == 0:
	case rec.UsesLeft <= 0:
		return m.repeat(ctx, verb, p.cred, rec, p.generation, use, tok)
	case use != useNone:
		*tok, err = m.spend(ctx, verb, p, rec.Subject, use)
		return err
	}
	if use != useNone && found == currentText && m.mayRecord(rec, now) {
		err = m.recordUse(ctx, verb, p, rec, now, above)
	}
	if err == nil {
		*tok = rec.Token
	}
	return err
}

// mayRecord reports whether a use of rec by its current text at now may have to be recorded:
// as the first use of a secret that Rotate made, or because RenewEvery has passed.
func (m *Manager) mayRecord(rec *storage.Record, now time.Time) bool {
	return rec.Generation != 0 && rec.Kind == KindPlain || m.policy.due(&rec.Token, now)
}

// refuseDead refuses c, a text of tok, which is dead. by is the generation of its secret.
func (m *Manager) refuseDead(ctx context.Context, verb *call, c *bearer.Credential, tok *Token, by uint32) error {
	payTag(c, m.binding)
	return m.refuse(ctx, verb, expired(tok, by))
}

// proveWorking is proveRecord, except that it refuses spentText: it returns only currentText and
// previousText without an error.
func (m *Manager) proveWorking(ctx context.Context, verb *call, p *presented, rec *storage.Record, err error, now time.Time) (standing, error) {
	found, err := m.proveRecord(ctx, verb, p, rec, err, now)
	if err == nil && found == spentText {
		err = m.refuse(ctx, verb, replaced(rec, p))
	}
	return found, err
}

// proveRecord returns what the text p is to rec: its current text, its previous one, or one
// that was replaced before. The store returned rec and err for the ID in p. A text of a bound
// token is refused as ErrProof unless ctx has the proof, also a text of a later generation than
// rec, and any other text as ErrUnknown. A refusal takes the time of one digest and one tag, whether or not there is a record.
func (m *Manager) proveRecord(ctx context.Context, verb *call, p *presented, rec *storage.Record, err error, now time.Time) (standing, error) {
	if err == nil && rec.ID != p.cred.ID() {
		err = errWrongRecord
	}
	if err != nil && !absent(err) {
		return unknownText, storeError(verb.Verb, err)
	}
	if err != nil || p.prefix != m.prefix || !m.owns(rec) {
		payTag(p.cred, m.binding)
		return unknownText, m.refuse(ctx, verb, &Rejection{Err: ErrUnknown, ID: p.named()})
	}
	found, err := m.match(rec, p, now)
	if err != nil {
		return unknownText, storeError(verb.Verb, err)
	}
	if found != unknownText && !rec.Thumbprint.IsZero() {
		if err := m.requireProof(ctx, verb, p, rec, found); err != nil {
			return found, err
		}
	}
	switch found {
	case unknownText:
		return unknownText, m.refuse(ctx, verb, &Rejection{Err: ErrUnknown, ID: p.cred.ID()})
	case aheadText:
		return m.proveAhead(ctx, verb, p, rec, now)
	}
	return found, nil
}

// proveAhead is proveRecord for a text of a later generation than rec, which may be an old copy. If the
// text is later than the stored record, too, Observe is told, and the text is refused.
func (m *Manager) proveAhead(ctx context.Context, verb *call, p *presented, rec *storage.Record, now time.Time) (standing, error) {
	found, err := m.matchStored(ctx, p, rec, now)
	switch {
	case err != nil:
		return unknownText, storeError(verb.Verb, err)
	case found == aheadText:
		m.tell(ctx, verb, Event{Kind: EventAhead, At: now, Token: m.token(rec)})
	case found != unknownText:
		return found, nil
	}
	return unknownText, m.refuse(ctx, verb, &Rejection{Err: ErrUnknown, ID: p.cred.ID()})
}

// matchStored is match for the record that a transaction reads, past every cache. It sets
// *rec to that record.
func (m *Manager) matchStored(ctx context.Context, p *presented, rec *storage.Record, now time.Time) (found standing, err error) {
	kept := p.keep()
	var read storage.Record
	var gone bool
	err = m.store.Update(ctx, rec.Subject, func(tx storage.Tx) (err error) {
		if read, err = getIn(tx, kept.cred.ID()); err == nil {
			found, err = m.match(&read, kept, now)
		}
		gone = errors.Is(err, errGone)
		return err
	})
	switch {
	case gone: // swept since rec was read
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

// admitText is admit for rec, which is alive at now and which the text c has been proved to be of. It
// refuses a token that a new epoch has ended while Admit ran. Of a token that has no parent and is not
// suspended it asks Admit alone: by BenchmarkHooks/admit an Admit then costs half as much.
func (m *Manager) admitText(ctx context.Context, verb *call, c *bearer.Credential, rec *storage.Record, by uint32, now time.Time) (above *ancestry, err error) {
	if rec.Parent == (ID{}) && rec.SuspendedAt.IsZero() {
		err = m.askAdmit(ctx, verb, &rec.Token, by)
	} else {
		above, err = m.admit(ctx, verb, &rec.Token, by, now)
	}
	if err == nil {
		err = m.refuseOvertaken(ctx, verb, &rec.Token, rec.Epoch, by)
	}
	if err != nil {
		payTag(c, m.binding)
		return nil, err
	}
	return above, nil
}

// admit returns nil as its error if tok is alive at now and not suspended, and Admit lets it pass.
// A secret of tok, of the generation by, has been proved. admit reads the tokens above a delegate,
// returns them, and gives tok the end, the suspension and the expiry that it has by them.
func (m *Manager) admit(ctx context.Context, verb *call, tok *Token, by uint32, now time.Time) (above *ancestry, err error) {
	if alive(tok, now) {
		if above, err = m.clampStored(ctx, verb.Verb, tok); err != nil {
			return nil, err
		}
	}
	if err := unusable(tok, by, now); err != nil {
		return above, m.refuse(ctx, verb, err)
	}
	return above, m.askAdmit(ctx, verb, tok, by)
}

// askAdmit returns nil if Config.Admit lets tok pass, or if there is no Admit. At a log-in
// tok has no ID, since there is no token yet.
func (m *Manager) askAdmit(ctx context.Context, verb *call, tok *Token, by uint32) error {
	if m.admission == nil {
		return nil
	}
	err := m.admission(ctx, *tok)
	if errors.Is(err, ErrRefused) {
		err = fromOutside(err, ErrUnauthenticated, ErrRefused)
		return m.refuse(ctx, verb, &Rejection{Err: err, ID: tok.ID, Subject: tok.Subject, Generation: by})
	}
	if err != nil {
		return fmt.Errorf("lapse: %s: Admit could not tell: %w", verb.Verb, fromOutside(err, ErrUnavailable))
	}
	return nil
}

// replaced returns the rejection of p, a text of rec whose secret was replaced.
func replaced(rec *storage.Record, p *presented) *Rejection {
	return &Rejection{Err: ErrReplaced, ID: rec.ID, Subject: rec.Subject, Generation: p.generation}
}
