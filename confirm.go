package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Confirm records that the user of the token whose text is bearer is present now: call it when
// the user has just entered a password again, or touched a key. It sets Token.AuthenticatedAt to
// now, and returns the token as Authenticate would. The instant is durable before Confirm
// returns. Confirm checks no credentials.
//
// AuthenticatedAt is IssuedAt until then, and no clock sets it back. It survives each rotation
// and refresh. A delegate has the AuthenticatedAt that its parent had when Delegate was called.
// An endpoint that wants a user who was present lately compares it with Manager.Now, after
// Authenticate or in Config.Admit, and answers insufficient_user_authentication (RFC 9470
// section 3) if it is too old.
//
// Confirm is no use: it renews nothing, spends nothing, and leaves LastUsedAt as it is. But the
// current text of a rotated token is then known to be in use, so that Rotate does not give it
// again. Confirm takes each text that Authenticate takes: of a session an access text. Admit is
// asked, with the AuthenticatedAt that the token had.
//
// Errors are those of Authenticate, and ErrOutcomeUnknown, after which Confirm may be called
// again. With any other error nothing was written.
func (m *Manager) Confirm(ctx context.Context, bearer string) (tok Token, err error) {
	verb := m.begin(VerbConfirm, &err)
	defer m.finish(ctx, &verb, &err)
	p, _, err := m.proveLive(ctx, &verb, bearer)
	if err != nil {
		return Token{}, err
	}
	c := confirming{m: m, text: &p.presented}
	err = m.update(ctx, &verb, p.rec.Subject, c.mark)
	if err == nil {
		err = m.overtaken(&c.token, c.epoch, p.generation)
	}
	if err != nil {
		return Token{}, m.verdict(ctx, &verb, p.rec.ID, err)
	}
	m.tell(ctx, &verb, Event{Kind: EventConfirmed, At: c.at, Token: c.token, Before: &c.before})
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

// mark is the transaction. It puts the record only if that changes.
func (c *confirming) mark(tx storage.Tx, now time.Time) error {
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
	if now.After(j.tok.AuthenticatedAt) {
		j.rec.AuthenticatedAt, j.tok.AuthenticatedAt, changed = now, now, true
	}
	c.token, c.epoch = j.tok, j.rec.Epoch
	if !changed {
		return nil
	}
	return putIn(tx, &j.rec)
}

// viewPresence sets AuthenticatedAt of tok, the token of a record, to what callers see: IssuedAt
// until Confirm has set another instant.
func viewPresence(tok *Token) {
	if tok.AuthenticatedAt.IsZero() {
		tok.AuthenticatedAt = tok.IssuedAt
	}
}
