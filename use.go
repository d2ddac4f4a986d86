package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// spend takes one use off the budget of the token whose text p is, which is good, and
// renews it where the policy says so, durably and in one transaction: of many callers
// with one use left between them one succeeds. The last use ends the token, and renews
// nothing; while connections are held by the token here, the last of them ends it when it
// is released. The previous text of a rotated token spends a use and renews nothing.
func (m *Manager) spend(ctx context.Context, verb string, p *presented, subject string, use usage) (tok Token, err error) {
	var at time.Time
	var renewed, repeated, later bool
	var epoch uint32
	kept := p.keep()
	err = m.update(ctx, verb, subject, func(tx storage.Tx, now time.Time) error {
		renewed, later = false, false
		j, err := m.goodIn(tx, kept, now)
		if repeated = err != nil && j.tok.Live(now) && j.tok.UsesLeft <= 0 && repeats(&j.rec, use); repeated {
			tok, epoch = j.tok, j.rec.Epoch // another caller had the last use meanwhile
			tok.UsesLeft = -1
			return nil
		}
		if err != nil {
			return err
		}
		if j.stands == currentText {
			_, err = useSecret(&j.rec)
		}
		if err != nil {
			return err
		}
		held := m.holds.Holding(j.rec.ID)
		m.policy.spend(&j, now, use, held)
		later = held && j.rec.UseGrace == 0 && spentByHold(&j.rec.Token)
		at, tok = now, m.token(&j.rec)
		j.above.lower(&tok)
		renewed = tok.EndedAt.IsZero() && tok.ExpiresAt.After(j.tok.ExpiresAt)
		epoch = j.rec.Epoch
		return putIn(tx, &j.rec)
	})
	if err == nil {
		err = m.overtaken(&tok, epoch, kept.generation)
	}
	switch {
	case err != nil:
		if (use == useHeld || later) && errors.Is(err, ErrOutcomeUnknown) { // it may have been the last one
			m.holds.EndLater(kept.cred.ID(), subject)
		}
		return Token{}, m.verdict(ctx, p.cred.ID(), err)
	case later && !m.holds.EndLater(tok.ID, subject):
		m.exhaust(tok.ID, subject)
	case renewed:
		m.tell(ctx, Event{Kind: EventRenewed, At: at, Token: tok})
	case !tok.EndedAt.IsZero():
		m.tellEnded(ctx, []Token{tok})
	}
	return tok, nil
}

// repeats reports whether a text of rec, which is alive and has no uses left, is good again
// for use since the last one was within Grant.UseGrace: with that one ends its life.
func repeats(rec *storage.Record, use usage) bool { return rec.UseGrace > 0 && use != useHeld }

// repeat sets tok to the answer to c, a text of rec, which is alive and has no uses left,
// if its last use may be repeated, and else refuses c.
func (m *Manager) repeat(ctx context.Context, c *bearer.Credential, rec *storage.Record, by uint32, use usage, tok *Token) error {
	if !repeats(rec, use) {
		payTag(c, m.binding)
		return m.refuse(ctx, exhausted(&rec.Token, by))
	}
	*tok = rec.Token
	tok.UsesLeft = -1
	return nil
}

// spend records a use at now of j: one less of its budget, and by the current text what
// any use records besides. The last one ends the token, now or with its grace, or leaves
// that to the last of its connections if held says that there are any.
func (p *Policy) spend(j *judged, now time.Time, use usage, held bool) {
	rec := &j.rec
	rec.UsesLeft--
	if j.stands == currentText {
		raise, _ := p.use(&j.tok, rec.TTL, now)
		if rec.UsesLeft == 0 {
			raise.ExpiresAt = time.Time{}
		}
		raise.Raise(rec)
	}
	switch {
	case rec.UsesLeft > 0:
	case use == useHeld:
		rec.UseGrace = 0
	case rec.UseGrace > 0:
		rec.ExpiresAt = capped(rec.ExpiresAt, steady.Add(now, rec.UseGrace))
		rec.MaxExpiresAt = rec.ExpiresAt
	case !held:
		rec.EndedAt, rec.EndReason = now, EndExhausted
	}
}

// exhaust ends the token of id, whose last use was spent by Hold, when the last of its
// connections is released. That it could not be ended changes nothing for its texts.
func (m *Manager) exhaust(id ID, subject string) {
	defer func() { _ = recover() }() // a store that panics would end the process here
	var tokens []Token
	err := m.store.Update(context.Background(), subject, func(tx storage.Tx) error {
		tokens = nil
		now := m.now() // whatever the epoch: the use is spent
		rec, err := getIn(tx, id)
		if err == nil && spent(&rec) {
			_, tokens, err = m.endIn(tx, &rec, EndExhausted, now)
		}
		return err
	})
	if err != nil {
		return
	}
	for _, tok := range tokens {
		m.tellApart(Event{Kind: EventEnded, At: tok.EndedAt, Token: tok})
	}
}

// exhausted refuses a secret of generation by of tok, which has no uses left.
func exhausted(tok *Token, by uint32) *Rejection {
	return &Rejection{Err: ErrExhausted, ID: tok.ID, Subject: tok.Subject, Generation: by}
}

// useNow records that the current secret of rec, which p presents, was used at now. It
// refuses p if a new epoch has begun meanwhile.
func (m *Manager) useNow(ctx context.Context, verb string, p *presented, rec *storage.Record, now time.Time, above *lineage) error {
	switch {
	case rec.Generation != 0 && unusedSecret(rec):
		m.firstUse(ctx, verb, p, &rec.Token)
	case m.policy.due(&rec.Token, now):
		m.used(ctx, &rec.Token, rec.TTL, now, above)
	}
	return m.refuseOvertaken(ctx, &rec.Token, rec.Epoch, p.generation)
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
		return putIn(tx, &j.rec)
	})
	switch {
	case errors.Is(err, ErrUnauthenticated): // ended or replaced since it was judged
	case err != nil:
		m.tell(ctx, Event{Kind: EventRenewalFailed, At: m.now(), Token: *tok, Err: err})
	case used.ID != (ID{}):
		*tok = used
		if renewed {
			m.tell(ctx, Event{Kind: EventRenewed, At: at, Token: used})
		}
	}
}

// used records that tok was used at now, which is due, if that raises something, and
// brings tok up to what everyone sees then. That it could not be stored does not unmake
// the use.
func (m *Manager) used(ctx context.Context, tok *Token, ttl time.Duration, now time.Time, above *lineage) {
	expires, raises := m.policy.dueUse(tok, ttl, now)
	if !raises || m.admission != nil && !tok.Live(m.now()) { // Admit took too long to renew by
		return
	}
	if err := m.store.Touch(ctx, tok.ID, storage.Use{At: now, ExpiresAt: expires}); err != nil {
		m.tell(ctx, Event{Kind: EventRenewalFailed, At: now, Token: *tok, Err: storeError("renew on use", err)})
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
		m.tell(ctx, Event{Kind: EventRenewed, At: now, Token: *tok})
	}
}

// Renew gives the token a new TTL from now, up to its cap, because its holder
// asks for it. It is durable before it returns, and it fails if it could not be
// stored. Renewing never shortens a life. By the previous text of a rotated token it
// changes nothing and returns the token as it is.
//
// Renew spends no use of a budget. Errors are those of Authenticate, ErrNotRenewable if
// the policy is RenewNever or bearer is an access text of a session, and
// ErrOutcomeUnknown.
func (m *Manager) Renew(ctx context.Context, bearer string) (Token, error) {
	if m.policy.Renewal == RenewNever {
		return Token{}, ErrNotRenewable
	}
	p, tok, err := m.good(ctx, "renew", bearer)
	switch {
	case err != nil:
		return Token{}, err
	case tok.Kind == KindSession:
		return Token{}, fmt.Errorf("%w: bearer is an access text of a session; Refresh moves its end", ErrNotRenewable)
	case p.stands == previousText:
		return tok, nil
	}
	var at time.Time
	var epoch uint32
	err = m.update(ctx, "renew", tok.Subject, func(tx storage.Tx, now time.Time) error {
		at = time.Time{}
		j, err := m.goodIn(tx, &p.presented, now)
		if tok, epoch = j.tok, j.rec.Epoch; err != nil || j.stands != currentText {
			return err
		}
		if _, err := useSecret(&j.rec); err != nil {
			return err
		}
		renewal(&tok, j.rec.TTL, now).Raise(&j.rec)
		at, tok = now, m.token(&j.rec)
		j.above.lower(&tok)
		return putIn(tx, &j.rec)
	})
	if err == nil {
		err = m.overtaken(&tok, epoch, p.generation)
	}
	if err != nil {
		return Token{}, m.verdict(ctx, p.rec.ID, err)
	}
	if !at.IsZero() {
		m.tell(ctx, Event{Kind: EventRenewed, At: at, Token: tok})
	}
	return tok, nil
}
