package lapse

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

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
