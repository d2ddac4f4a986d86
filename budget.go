package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// spend takes one use off the budget of the token of id, which is good, and renews it
// where the policy says so, durably and in one transaction: of many callers with one use
// left between them one succeeds. The last use ends the token, and renews nothing.
func (m *Manager) spend(ctx context.Context, verb string, id ID, subject string) (tok Token, err error) {
	var at time.Time
	var renewed bool
	err = m.update(ctx, verb, subject, func(tx storage.Tx, now time.Time) error {
		rec, err := getIn(tx, id)
		if err != nil {
			return err
		}
		tok, at = m.token(&rec), now
		above, err := m.under(&tok, tx.Get)
		switch {
		case err != nil:
			return err
		case !tok.Live(now):
			return expired(&tok)
		case rec.UsesLeft <= 0:
			return exhausted(&tok)
		}
		was := tok.ExpiresAt
		m.policy.spend(&tok, &rec, now)
		tok = m.token(&rec)
		above.lower(&tok)
		renewed = tok.EndedAt.IsZero() && tok.ExpiresAt.After(was)
		return tx.Put(rec)
	})
	switch {
	case err != nil:
		return Token{}, m.verdict(id, err)
	case renewed:
		m.tell(Event{Kind: EventRenewed, At: at, Token: tok})
	case !tok.EndedAt.IsZero():
		m.tellEnded([]Token{tok})
	}
	return tok, nil
}

// spend records a use at now of rec, which everyone sees as tok: one less of its
// budget, and what any use records besides.
func (p *Policy) spend(tok *Token, rec *storage.Record, now time.Time) {
	use, _ := p.use(tok, rec.TTL, now)
	if rec.UsesLeft--; rec.UsesLeft == 0 {
		use.ExpiresAt = time.Time{}
	}
	use.Raise(rec)
	if rec.UsesLeft == 0 {
		rec.EndedAt, rec.EndReason = now, EndExhausted
	}
}

func exhausted(tok *Token) *Rejection {
	return &Rejection{Err: ErrExhausted, ID: tok.ID, Subject: tok.Subject}
}
