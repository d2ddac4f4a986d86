package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// spend takes one use off the budget of the token whose text p is, which is good, and
// renews it where the policy says so, durably and in one transaction: of many callers
// with one use left between them one succeeds. The last use ends the token, and renews
// nothing; the last use by Hold leaves that end to its Release. The previous text of a
// rotated token spends a use and renews nothing.
func (m *Manager) spend(ctx context.Context, verb string, p *presented, subject string, use usage) (tok Token, err error) {
	var at time.Time
	var renewed, repeated bool
	var epoch uint32
	kept := p.keep()
	err = m.update(ctx, verb, subject, func(tx storage.Tx, now time.Time) error {
		j, err := m.goodIn(tx, kept, now)
		if repeated = err != nil && use == useOnce && m.repeats(&j.rec, &j.tok, now); repeated {
			at, tok = now, j.tok // another caller had the last use meanwhile
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
		m.policy.spend(&j, now, use)
		at, tok = now, m.token(&j.rec)
		j.above.lower(&tok)
		renewed = tok.EndedAt.IsZero() && tok.ExpiresAt.After(j.tok.ExpiresAt)
		epoch = j.rec.Epoch
		return tx.Put(j.rec)
	})
	if err == nil {
		err = m.overtaken(&tok, epoch, kept.generation)
	}
	switch {
	case err != nil:
		if use == useHeld && errors.Is(err, ErrOutcomeUnknown) { // it may have been the last one
			m.holds.endLater(kept.cred.id(), subject)
		}
		return Token{}, m.verdict(ctx, p.cred.id(), err)
	case repeated:
		err = m.repeat(ctx, verb, kept, &tok, at)
	case renewed:
		m.tell(ctx, Event{Kind: EventRenewed, At: at, Token: tok})
	case !tok.EndedAt.IsZero():
		m.tellEnded(ctx, []Token{tok})
	}
	return tok, err
}

// repeats reports whether a text of rec, of which tok is what everyone sees, is good at now
// since its last use was within UseGrace. A clock that was wrong has no part in that: an end
// in an earlier epoch, or ahead of now, has no grace.
func (m *Manager) repeats(rec *storage.Record, tok *Token, now time.Time) bool {
	return rec.UseGrace > 0 && tok.EndReason == EndExhausted && rec.Epoch >= m.marks.Epoch() &&
		!now.Before(tok.EndedAt) && now.Before(tok.EndedAt.Add(rec.UseGrace)) && now.Before(tok.ExpiresAt)
}

// repeat makes of tok, of which repeats is true, what is returned for the text p, if those
// above tok live and Admit lets it pass.
func (m *Manager) repeat(ctx context.Context, verb string, p *presented, tok *Token, now time.Time) error {
	at := tok.EndedAt
	tok.EndedAt, tok.EndReason, tok.UsesLeft = time.Time{}, 0, -1
	if err := m.admit(ctx, verb, tok, p.generation, now); err != nil {
		payTag(p.cred, m.binding)
		return err
	}
	tok.EndedAt, tok.EndReason = at, EndExhausted
	return nil
}

// spend records a use at now of j: one less of its budget, and by the current text what
// any use records besides.
func (p *Policy) spend(j *judged, now time.Time, use usage) {
	rec := &j.rec
	rec.UsesLeft--
	if j.stands == currentText {
		raise, _ := p.use(&j.tok, rec.TTL, now)
		if rec.UsesLeft == 0 {
			raise.ExpiresAt = time.Time{}
		}
		raise.Raise(rec)
	}
	if rec.UsesLeft == 0 && use != useHeld {
		rec.EndedAt, rec.EndReason = now, EndExhausted
	}
}

// exhaust ends the token of id, whose last use was spent by Hold, when the last of its
// connections is released. That it could not be ended changes nothing for its texts.
func (m *Manager) exhaust(id ID, subject string) {
	var tokens []Token
	err := m.store.Update(context.Background(), subject, m.inEpoch(func(tx storage.Tx, now time.Time) error {
		tokens = nil
		rec, err := getIn(tx, id)
		if err != nil || rec.MaxUses == 0 || rec.UsesLeft > 0 || !rec.Live(now) {
			return err
		}
		rec.EndedAt, rec.EndReason, rec.UseGrace = now, EndExhausted, 0 // its use was long before
		tokens = append(tokens, m.token(&rec))
		return tx.Put(rec)
	}))
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
