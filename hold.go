package lapse

import (
	"context"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/internal/hold"
)

// Hold is a connection that is held open by a token. Manager.Hold makes one.
//
// It follows the token. A renewal by any caller moves its end, which never comes early.
// Rotating the token cuts no connection, except Rotate and RotateID with an overlap of 0:
// those cut what an older text opened, with ErrReplaced. A connection that an access text
// opened ends when the current access secret of the session runs out, and each refresh
// moves that end. A token whose last use is spent while connections are held by it here is
// ErrExhausted from then on, and ends with EndExhausted when the last of them does; until
// then it can be ended, which cuts them. Another Manager's last use ends it at once.
//
// An end that returns after Manager.Hold was called cuts the connection, whatever the two
// race: within 100 ms if it came from this process and the store is a storage.Watcher, or
// else within Config.PollHolds. A token that runs out cuts it within a second, or 15
// seconds after the machine woke or its clock was set. While the store cannot be read, a
// connection is held until the end that is known, and no longer.
type Hold struct {
	m     *Manager
	ctx   context.Context
	token Token
	conn  hold.Conn
}

// Context returns the context that ends when the connection is to: with the life of the
// token, with Release, or with the context that Manager.Hold was given. context.Cause of
// it says why.
func (h *Hold) Context() context.Context { return h.ctx }

// Token returns the token as Manager.Hold found it. Later renewals do not show in it.
func (h *Hold) Token() Token { return h.token }

// Release ends Context, with the cause context.Canceled, and lets go of the token. It may
// be called more than once, and after the connection was cut.
func (h *Hold) Release() {
	h.m.holds.Drop(&h.conn)
	h.conn.End(context.Canceled)
}

// Hold is Authenticate for a connection that lasts: Context of the Hold that it returns
// ends when the life of bearer's token does, for whatever reason, or with ctx. Then
// context.Cause of it is a *Rejection that says why, as Authenticate would (the token ran
// out, or was ended, for what reason; Admit refused it), ErrClosed if the store was
// closed, or the cause of ctx.
//
// Call Release, or end ctx, when the connection ends: the hold lasts as long, and then
// costs nothing more. Hold itself is a use as Authenticate is; that a connection stays
// open is none. Authenticate the bearer again, on whatever the peer does, where that
// should renew the token. To say goodbye before the connection is closed, use
// context.AfterFunc with Context.
//
// Errors are those of Authenticate, and there is no Hold then.
func (m *Manager) Hold(ctx context.Context, bearer string) (*Hold, error) {
	h := &Hold{m: m}
	h.ctx = h.conn.Open(ctx, func() { m.holds.Drop(&h.conn) })
	err := context.Canceled // should the store or Admit panic
	defer func() {
		if err != nil {
			m.holds.Drop(&h.conn)
			h.conn.End(err)
		}
	}()
	if h.token, err = m.hold(ctx, h, bearer); err != nil {
		return nil, err
	}
	return h, nil
}

// hold registers h before it reads the token, so that no end falls between.
func (m *Manager) hold(ctx context.Context, h *Hold, text string) (tok Token, err error) {
	var c bearer.Credential
	if _, ok := c.Parse(text, m.prefix, m.begun); !ok {
		return tok, m.refuse(ctx, ErrMalformed)
	}
	m.holds.Add(&h.conn, c.ID())
	generation, err := m.authenticate(ctx, "hold", text, useHeld, &tok)
	if err != nil {
		return Token{}, err
	}
	over, cause := m.holds.Arm(&h.conn, &tok, generation, spentByHold(&tok))
	if (over || cause != nil) && spentByHold(&tok) && !m.holds.EndLater(tok.ID, tok.Subject) {
		go m.exhaust(tok.ID, tok.Subject) // the store may take its time
	}
	switch _, rejected := cause.(*Rejection); {
	case rejected:
		return Token{}, m.refuse(ctx, cause)
	case cause != nil:
		return Token{}, cause
	case over:
		return Token{}, storeError("hold", ctx.Err())
	}
	return tok, nil
}

// spentByHold reports whether tok, as a check by Hold returned it, had its last use spent
// by that and was left to be ended later.
func spentByHold(tok *Token) bool {
	return tok.MaxUses != 0 && tok.UsesLeft == 0 && tok.EndedAt.IsZero()
}
