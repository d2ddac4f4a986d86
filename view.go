package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// verdict returns err, which a transaction over the token of id returned. It tells Observe if
// err refuses the token. A record that is gone is ErrUnknown.
func (m *Manager) verdict(ctx context.Context, verb *call, id ID, err error) error {
	switch {
	case errors.Is(err, errGone): // swept since the text was proved, after it had long been dead
		return m.refuse(ctx, verb, &Rejection{Err: ErrUnknown, ID: id})
	case errors.Is(err, ErrUnauthenticated):
		return m.refuse(ctx, verb, err)
	}
	return err
}

// token returns the token of rec as callers see it. The policy of m applies to tokens of its
// own prefix. Tokens of other prefixes keep the cap in their records.
func (m *Manager) token(rec *storage.Record) (tok Token) {
	m.tokenInto(rec, &tok)
	return tok
}

// tokenInto sets *tok to the token of rec as callers see it.
func (m *Manager) tokenInto(rec *storage.Record, tok *Token) {
	if *tok = rec.Token; m.fromEarlierEpoch(rec) {
		seen := *rec
		m.showClockEnd(&seen)
		*tok = seen.Token
	}
	m.view(rec, tok)
}

// view changes tok, the token of rec, into what callers see, in its place: its cap and its
// expiry are those of the policy that applies, and AuthenticatedAt is set.
func (m *Manager) view(rec *storage.Record, tok *Token) {
	viewPresence(tok)
	switch {
	case rec.Kind == KindSession && m.rules.made(rec):
		m.rules.policy.view(tok)
	case rec.Kind == KindPlain && tok.Prefix == m.prefix:
		m.policy.view(tok)
	default:
		tok.ExpiresAt = capped(tok.ExpiresAt, tok.MaxExpiresAt)
	}
}

// viewText changes rec, which m owns, into what callers see for a text that found describes.
// For the access text of a session these are the expiry and the scope of that text. The
// caller has called showClockEnd.
func (m *Manager) viewText(rec *storage.Record, found standing) {
	if rec.Kind == KindPlain {
		viewPresence(&rec.Token)
		m.policy.view(&rec.Token)
		return
	}
	m.view(rec, &rec.Token)
	s, ok := sessionOf(rec)
	if !ok || m.refreshes || !rec.EndedAt.IsZero() {
		return
	}
	until := s.accessExpires()
	if found == previousText {
		until = s.previousUntil()
	}
	rec.ExpiresAt, rec.Scope = capped(rec.ExpiresAt, until), s.accessScope()
}

// listed has rec, which the store yielded with err, show its token, limited by the records above it
// that get returns. With an error rec shows a token with the ID alone.
func (m *Manager) listed(verb Verb, rec *storage.Record, err error, get func(ID) (storage.Record, error)) error {
	if err == nil && rec.Kind == KindSession && !legible(rec) {
		err = errSecrets
	}
	m.tokenInto(rec, &rec.Token)
	if err == nil && rec.Parent != (ID{}) {
		_, err = m.clamp(&rec.Token, get)
	}
	if err != nil {
		rec.Token = Token{ID: rec.ID}
		return storeError(verb, err)
	}
	return nil
}

// isToken reports whether rec is of a token, and not an alias, which names one.
func isToken(rec *storage.Record) bool { return rec.Kind != storage.KindAlias }

// getter returns Store.Get for ctx.
func (m *Manager) getter(ctx context.Context) func(ID) (storage.Record, error) {
	return func(id ID) (storage.Record, error) { return m.store.Get(ctx, id) }
}

// getIn returns the record of id in tx. The error is errGone if there is none, and
// errWrongRecord if tx returned another record.
func getIn(tx storage.Tx, id ID) (storage.Record, error) {
	rec, err := tx.Get(id)
	return rec, ofID(id, &rec, err)
}

// record returns the record of id in the store, with the errors of getIn.
func (m *Manager) record(ctx context.Context, id ID) (storage.Record, error) {
	rec, err := m.store.Get(ctx, id)
	return rec, ofID(id, &rec, err)
}

// ofID returns nil if rec, which a store returned with err for id, is the record of id. An alias is
// no token: for that the error is errGone.
func ofID(id ID, rec *storage.Record, err error) error {
	switch {
	case absent(err):
		return errGone
	case err == nil && rec.ID != id:
		return errWrongRecord
	case err == nil && !isToken(rec):
		return errGone
	}
	return fromOutside(err, storeErrors...)
}

// cacherOf returns the copies that store has at hand, or nil if it has none.
func cacherOf(store storage.Store) storage.Cacher {
	if c, ok := store.(storage.Cacher); ok && c.CachedFor(store) {
		return c
	}
	return nil
}

// loadGood is load for authenticate, and returns the instant to judge by. It sets *rec to a copy that the
// store has at hand, if the text p is good by that copy at that instant, and reports whether Admit has let
// the token pass. A copy may be old. So nothing is ever refused by one: in any other case loadGood reads
// the store, and nothing has been told or counted.
//
// A Hold reads the store: the scheduler may have heard of a change that the copies have not, and would
// not hear of it again.
func (m *Manager) loadGood(ctx context.Context, p *presented, use usage, rec *storage.Record) (now time.Time, admitted bool, err error) {
	if m.cache != nil && use != useHeld && ctx.Err() == nil {
		if found, ok := m.cache.Cached(p.cred.ID()); ok {
			if now = m.now(); m.goodCopy(ctx, p, &found, now) {
				*rec = found
				return now, true, nil
			}
		}
	}
	err = m.load(ctx, p.cred.ID(), rec)
	return m.now(), false, err
}

// goodCopy reports whether p is good at now by rec, a copy, and Admit lets the token pass. It is false
// for a delegate, whose ancestors have to be read, and for a token with a budget.
func (m *Manager) goodCopy(ctx context.Context, p *presented, rec *storage.Record, now time.Time) bool {
	if rec.ID != p.cred.ID() || p.prefix != m.prefix || !m.owns(rec) || m.fromEarlierEpoch(rec) ||
		rec.MaxUses != 0 || rec.Parent != (ID{}) || !rec.SuspendedAt.IsZero() {
		return false
	}
	found, err := m.match(rec, p, now)
	if err != nil || found != currentText && found != previousText {
		return false
	}
	if !rec.Thumbprint.IsZero() && !proves(ctx, rec) {
		return false
	}
	seen := *rec
	m.viewText(&seen, found)
	return alive(&seen.Token, now) && (m.admission == nil || m.admission(ctx, seen.Token) == nil)
}
