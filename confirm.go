package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Confirm records that the user of the token whose text is bearer is present now: call it when
// the user has just entered a password again, or touched a key. It sets Token.AuthenticatedAt to
// now, and returns the token as Authenticate would. The instant is durable before Confirm
// returns, and Observe is told of EventConfirmed. Confirm checks no credentials.
//
// AuthenticatedAt is IssuedAt until then, and no clock sets it back. It survives each rotation
// and refresh; a delegate has that of its parent at Delegate. An endpoint that wants a user who was
// present lately compares it with Manager.Now, after Authenticate or in Config.Admit, and answers
// insufficient_user_authentication (RFC 9470 section 3) if it is too old. It should refuse an
// instant in the future, too: under GuardOff a wrong clock can leave one, which Confirm keeps.
//
// Confirm is no use: it renews nothing, spends nothing, and leaves LastUsedAt as it is. But it
// tells that the current text of a rotated token is in use: then Rotate does not give it again.
// Confirm takes the texts that Authenticate takes, of a session the access texts, and refuses a
// token without uses left with ErrExhausted, also within Grant.UseGrace. Admit is asked as at a
// log-in, with the AuthenticatedAt that Confirm sets.
//
// Errors are those of Authenticate, and ErrOutcomeUnknown, after which Confirm may be called
// again. After a *Rejection the instant may be stored, on a token that is dead. With any other
// error nothing was written.
func (m *Manager) Confirm(ctx context.Context, bearer string) (tok Token, err error) {
	verb := m.begin(VerbConfirm, &err)
	defer m.finish(ctx, &verb, &err)
	return m.confirm(ctx, &verb, bearer)
}

// confirm is Confirm as a part of verb.
func (m *Manager) confirm(ctx context.Context, verb *call, bearer string) (Token, error) {
	p, err := m.prove(ctx, verb, bearer)
	if err != nil {
		return Token{}, err
	}
	confirm(&p.rec.Token, p.now)
	if _, err = m.requireLive(ctx, verb, &p.presented, &p.rec, p.stands, p.now); err != nil {
		return Token{}, err
	}
	c := confirming{m: m, text: &p.presented}
	err = m.update(ctx, verb, p.rec.Subject, c.confirmIn)
	if err == nil {
		err = m.overtaken(&c.token, c.epoch, p.generation)
	}
	if err != nil {
		return Token{}, m.verdict(ctx, verb, p.rec.ID, err)
	}
	m.tell(ctx, verb, Event{Kind: EventConfirmed, At: c.at, Token: c.token, Before: &c.before})
	return c.token, nil
}

// confirming is one Confirm. Its transaction may run more than once, and sets the results each
// time.
type confirming struct {
	m    *Manager
	text *presented

	// The results of the transaction.
	at     time.Time
	before Token  // as the text showed it before
	token  Token  // as the text shows it
	epoch  uint32 // of the record
}

// confirmIn is the transaction. It puts the record only if that changes.
func (c *confirming) confirmIn(tx storage.Tx, now time.Time) error {
	j, err := c.m.proveLiveIn(tx, c.text, now)
	if err != nil {
		return err
	}
	c.at, c.before = now, j.tok
	changed := false
	if j.stands == currentText && j.rec.Kind == KindPlain {
		if changed, err = useSecret(&j.rec); err != nil {
			return err
		}
	}
	if confirm(&j.tok, now) {
		j.rec.AuthenticatedAt, changed = now, true
	}
	c.token, c.epoch = j.tok, j.rec.Epoch
	if !changed {
		return nil
	}
	return putIn(tx, &j.rec)
}

// confirm sets AuthenticatedAt of tok to now, unless that is earlier than what callers see already. It
// reports whether now is later.
func confirm(tok *Token, now time.Time) (later bool) {
	viewPresence(tok)
	if later = now.After(tok.AuthenticatedAt); later {
		tok.AuthenticatedAt = now
	}
	return later
}

// viewPresence sets AuthenticatedAt of tok, the token of a record, to what callers see: IssuedAt
// until Confirm has set another instant.
func viewPresence(tok *Token) {
	if tok.AuthenticatedAt.IsZero() {
		tok.AuthenticatedAt = tok.IssuedAt
	}
}
