package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// spend takes one use off the budget of tok, which is good, and renews it where the
// policy says so, durably and in one transaction: of many callers with one use left
// between them one succeeds. The last use ends the token.
func (m *Manager) spend(ctx context.Context, verb string, tok Token) (Token, error) {
	var spent Token
	var renewed bool
	err := m.update(ctx, verb, tok.Subject, func(tx storage.Tx, now time.Time) error {
		rec, err := getIn(tx, tok.ID)
		if err != nil {
			return err
		}
		seen := m.token(&rec)
		switch {
		case !seen.Live(now):
			return expired(&seen)
		case rec.UsesLeft == 0: // a store that lost the end of the last use
			return &Rejection{Err: ErrExhausted, ID: rec.ID, Subject: rec.Subject}
		}
		use, _ := m.policy.dueUse(&seen, rec.TTL, now)
		if !m.policy.due(&seen, now) {
			use.ExpiresAt = time.Time{}
		}
		renewed = use.ExpiresAt.After(seen.ExpiresAt)
		use.Raise(&rec)
		rec.UsesLeft--
		if rec.UsesLeft == 0 {
			rec.EndedAt, rec.EndReason, renewed = now, EndExhausted, false
		}
		spent = m.token(&rec)
		return tx.Put(rec)
	})
	rejection, refused := err.(*Rejection)
	switch {
	case errors.Is(err, ErrNotFound): // swept meanwhile
		return Token{}, m.refuse(&Rejection{Err: ErrUnknown, ID: tok.ID})
	case refused:
		return Token{}, m.refuse(rejection)
	case err != nil:
		return Token{}, err
	}
	if tok.Parent != (ID{}) {
		spent.ExpiresAt = capped(spent.ExpiresAt, tok.ExpiresAt)
	}
	switch {
	case renewed:
		m.tell(Event{Kind: EventRenewed, At: spent.LastUsedAt, Token: spent})
	case spent.UsesLeft == 0:
		m.tellEnded([]Token{spent})
	}
	return spent, nil
}
