package lapse

import "context"

// Hold is Authenticate for a connection that lasts: the context it returns ends when
// the life of bearer's token does, for whatever reason, or with ctx. Then
// context.Cause of it is a *Rejection that says why, as Authenticate would (it ran
// out, or was ended, for what reason; its subject is refused), ErrClosed if the
// store was closed, or the cause of ctx.
//
// End ctx when the connection ends: the hold lasts as long, and then costs nothing
// more. Hold itself is a use as Authenticate is; that a connection stays open is none.
// Authenticate the bearer again, on whatever the connection's holder does, where that
// should renew the token. To say goodbye before the connection is closed, use
// context.AfterFunc with what Hold returned.
//
// A renewal by any caller moves the end of the context, which never comes early. A hold
// follows the token: rotating it cuts no connection, except Rotate and RotateID with an
// overlap of 0, which cut those that were opened by an older text, with ErrReplaced. A
// connection opened by an access text of a session ends when the session's current
// access secret runs out, and each refresh moves that end. A token whose budget was
// spent by this very use is refused from then on (ErrExhausted), and ends with
// EndExhausted when the last of its connections here ends; until then it can be ended,
// which cuts them.
//
// An end that returns after Hold was called cuts the connection, whatever the two
// race: within 100 ms if it came from this process and the store is a storage.Watcher,
// or else within Config.PollHolds. A token that runs out cuts it within a second, or 15
// seconds after the machine woke or its clock was set. While the store cannot be read,
// a connection is held until the end that is known, and no longer.
//
// With an error, which is Authenticate's, the context has ended already.
func (m *Manager) Hold(ctx context.Context, bearer string) (context.Context, Token, error) {
	held, cancel := context.WithCancelCause(ctx)
	h := &hold{cancel: cancel}
	h.stop = context.AfterFunc(ctx, func() { m.release(h) })
	err := context.Canceled // should the store or CheckSubject panic
	defer func() {
		if err != nil {
			m.release(h)
			h.end(err)
		}
	}()
	var tok Token
	tok, err = m.hold(ctx, h, bearer)
	return held, tok, err
}

// hold registers h before it reads the token, so that no end falls between.
func (m *Manager) hold(ctx context.Context, h *hold, bearer string) (tok Token, err error) {
	var c credential
	if _, ok := c.parse(bearer, m.prefix, m.begun); !ok {
		return tok, m.refuse(ErrMalformed)
	}
	m.holds.add(m, h, c.id())
	if h.generation, err = m.authenticate(ctx, "hold", bearer, useHeld, &tok); err != nil {
		return Token{}, err
	}
	over, cause := m.holds.arm(h, &tok, at(m.now()))
	if (over || cause != nil) && spentByHold(&tok) && !m.holds.endLater(tok.ID, tok.Subject) {
		go m.exhaust(tok.ID, tok.Subject) // the store may take its time
	}
	switch _, rejected := cause.(*Rejection); {
	case rejected:
		return Token{}, m.refuse(cause)
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

// release lets go of h, and ends its token if that had its last use spent by Hold and
// this was its last connection.
func (m *Manager) release(h *hold) {
	if t := m.holds.drop(h); t != nil {
		go m.exhaust(t.id, t.subject) // the store may take its time
	}
}
