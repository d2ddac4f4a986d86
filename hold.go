package lapse

import (
	"cmp"
	"context"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/internal/hold"
)

// Hold is a connection that is held open by a token. Manager.Hold makes one.
//
// The connection is cut when the token dies or is suspended, and never earlier. A renewal by any caller
// moves that instant. A connection that an access text opened is cut when the current access
// secret of the session expires, and each refresh moves that instant. Rotate and RotateID
// cut with ErrReplaced what an older text opened if their overlap is 0. With an overlap they
// cut nothing.
//
// While connections of a Manager are held by a token, its last use by that Manager does not
// end the token. Texts of the token are refused with ErrExhausted from then on. The token
// ends with EndExhausted when the last of these connections does, and may be ended earlier,
// which cuts them. The last use by another Manager ends the token at once.
//
// If a verb that ends or suspends the token returns after Manager.Hold was called, it cuts the
// connection, even if both ran at the same time: within 100 ms if this process called the
// verb and the store is a storage.Watcher, otherwise within Config.PollHolds. The expiry of
// the token cuts the connection within a second, or within 15 seconds after the machine
// woke or its clock was set. While the store cannot be read, the connection is held until
// the expiry that is known, and no longer.
type Hold struct {
	m      *Manager
	token  Token // as Manager.Hold found it
	conn   hold.Conn
	latest atomic.Pointer[Token] // as a later Use found it; nil: as token
}

// Context returns the context of the connection. It ends when the token dies or is suspended, by
// Release, or with the context that Manager.Hold was given. context.Cause says why.
func (h *Hold) Context() context.Context { return h.conn.Context() }

// Token returns the token as Manager.Hold found it, or as the last Use did that found more changed
// than LastUsedAt and ExpiresAt. Use reads the record when a use is due, and after an Edit of the
// token. Token may be called concurrently with Use.
func (h *Hold) Token() Token { return *h.seen() }

// seen returns the token of Token, which nothing changes.
func (h *Hold) seen() *Token { return cmp.Or(h.latest.Load(), &h.token) }

// Release ends the hold: Context ends with the cause context.Canceled. Release may be called
// more than once, and after the connection was cut.
func (h *Hold) Release() {
	h.drop()
	h.conn.End(context.Canceled)
}

// drop has the scheduler forget h, and counts that once.
func (h *Hold) drop() {
	if h.m.holds.Drop(&h.conn) {
		h.m.count(VerbRelease, outcomeOK, 1)
	}
}

// Hold is Authenticate for a connection that stays open. The context of the Hold ends when
// the token of bearer dies or is suspended, when Admit refuses it (Config.Recheck), when the store is
// closed, or when ctx ends. Its cause is then a *Rejection as of Authenticate, an error
// that wraps ErrClosed, or the cause of ctx.
//
// Call Release or end ctx when the connection ends. Until then the hold takes memory and,
// with others, a few goroutines. Hold is a use of the token, as Authenticate is. That the
// connection stays open is not a use. If the messages of the peer are to renew the token,
// call Hold.Use for each message: bearer need not be kept. To tell the peer before the
// connection ends, use Hold.WarnFunc. To tell the peer why it has ended, use context.AfterFunc
// with the context.
//
// The errors are those of Authenticate. Hold returns no Hold with an error. If the token dies, or ctx
// ends, while Hold runs, the use may be stored all the same.
func (m *Manager) Hold(ctx context.Context, bearer string) (*Hold, error) {
	h := &Hold{m: m}
	if err := m.openHold(ctx, h, bearer); err != nil {
		return nil, err
	}
	told := false
	defer func() {
		if !told { // Observe panicked: h was counted, so its release is, too
			h.Release()
		}
	}()
	m.tell(ctx, &call{Verb: VerbHold}, Event{Kind: EventHeld, At: m.now(), Token: h.token})
	told = true
	return h, nil
}

// openHold is Manager.Hold without EventHeld. After h is armed no function of a caller runs, so
// every h whose end is counted has been counted itself.
func (m *Manager) openHold(ctx context.Context, h *Hold, bearer string) (err error) {
	verb := m.begin(VerbHold, &err)
	defer m.finish(ctx, &verb, &err)
	h.conn.Open(ctx, h.drop)
	why := context.Canceled // if the store, Admit or Observe panics
	defer func() {
		if why != nil {
			m.holds.Drop(&h.conn)
			h.conn.End(why)
		}
	}()
	h.token, why = m.hold(ctx, &verb, h, bearer)
	return why
}

// hold is openHold without the end of h on an error. It registers h before it reads the token, so
// that h misses no end.
func (m *Manager) hold(ctx context.Context, verb *call, h *Hold, text string) (tok Token, err error) {
	var hashed hashedText
	if err := m.parse(ctx, verb, text, &hashed); err != nil {
		return tok, err
	}
	p := hashed.presented()
	m.holds.Add(&h.conn, p.cred.ID())
	generation, err := m.authenticateParsed(ctx, verb, &p, useHeld, &tok)
	if err != nil {
		return Token{}, err
	}
	over, cause := m.holds.Arm(&h.conn, &tok, generation, spentByHold(&tok))
	if (over || cause != nil) && spentByHold(&tok) && !m.holds.EndLater(tok.ID, tok.Subject) {
		go m.exhaust(tok.ID, tok.Subject) // the store may take its time
	}
	switch _, rejected := cause.(*Rejection); {
	case rejected:
		return Token{}, m.refuse(ctx, verb, cause)
	case cause != nil:
		return Token{}, cause
	case over:
		return Token{}, storeError(VerbHold, ctx.Err())
	}
	return tok, nil
}

// spentByHold reports whether the check that returned tok was its last use and did not end
// tok, since connections are held by it.
func spentByHold(tok *Token) bool {
	return tok.MaxUses != 0 && tok.UsesLeft == 0 && tok.EndedAt.IsZero()
}

// WarnFunc runs f, in its own goroutine, when lead is left of the life of the connection: until the
// token expires, or for a connection by an access text until the current access secret of the
// session does. A renewal or a refresh that moves that instant moves the warning. If the instant
// moves after f has run, f runs once more, when lead is left of the new life. If less than lead is
// left already, f runs at once.
//
// WarnFunc learns of a renewal by a use when the warning is due, or when the expiry known until
// then passes. If a use moves the end by less than lead, the warning may come late. WarnFunc does
// not warn of an end by a verb. If lead is under a millisecond, f is nil, or the connection was cut
// or released, f never runs.
//
// After stop, f is not started any more. As with context.AfterFunc, stop returns true if it has
// stopped f from running at all, and false if f has been started, was stopped before, or the
// connection is over. It does not wait for f. f may call all methods of h. A panic of f ends the
// program, as a panic in any other goroutine does.
func (h *Hold) WarnFunc(lead time.Duration, f func()) (stop func() bool) {
	return h.m.holds.WarnFunc(&h.conn, lead, f)
}

// RotatedFunc runs f, in its own goroutine, when the secret of the token was replaced since Hold:
// by a rotation, or by a refresh of a session. f runs once more after each later replacement.
// Replacements in quick succession may count as one. If the secret was replaced before RotatedFunc
// was called, f runs at once. A rotation with overlap 0 cuts the connection, and f does not run.
//
// f runs as soon as an end of the token would cut the connection (Hold). If f is nil, or the
// connection was cut or released, f never runs. stop and f are as those of WarnFunc.
func (h *Hold) RotatedFunc(f func()) (stop func() bool) {
	return h.m.holds.RotatedFunc(&h.conn, h.token.Generation, f)
}
