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
// A renewal by anybody moves the end of the context, which never comes early. A hold
// follows a token to its successors: rotating a token cuts nobody, but ending any of
// those that live does. A token whose budget was spent by this very use is held until
// it would have run out, since nothing is left of it to be ended.
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
	h.stop = context.AfterFunc(ctx, func() { m.holds.drop(h) })
	err := context.Canceled // should the store or CheckSubject panic
	defer func() {
		if err != nil {
			m.holds.drop(h)
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
	if err := m.authenticate(ctx, "hold", bearer, true, &tok); err != nil {
		return Token{}, err
	}
	over, cause := m.holds.arm(h, &tok, at(m.now()))
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
