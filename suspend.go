package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Suspend has the token or session of id, of any prefix, refused until Resume. A verb that takes a
// text of it, or of a delegate below it, returns ErrSuspended. Connections held by them are cut.
// Log-out verbs end the token as usual. The suspension is durable before Suspend returns, and
// survives a backup and reopening. Observe is told EventSuspended; that event alone says who
// suspended the token (WithActor), and no record does.
//
// A suspension is no end. The token keeps its place in MaxTokens and MaxDelegates, is listed with
// Token.SuspendedAt, and is not swept before it is dead. LimitEndIdlest does not end it. It goes on
// running out. No text renews it, though a use before Suspend may still be recorded. RotateID works
// and leaves it suspended; only that gives it a new life. Obtain for a grant like it is refused.
//
// changed reports whether Suspend suspended the token. It is false, with no error, for a token that
// is suspended already, that was ended, or that has run out by its record or one above it. A delegate
// of a suspended token can be suspended itself, and then has to be resumed itself.
//
// The error is ErrNotFound if there is no such token, where Expire returns none, or the store's.
// After ErrOutcomeUnknown the token may be suspended: call Suspend again.
func (m *Manager) Suspend(ctx context.Context, id ID) (changed bool, err error) {
	verb := m.begin(VerbSuspend, &err)
	defer m.finish(ctx, &verb, &err)
	return m.suspend(ctx, &verb, &suspending{m: m, id: id})
}

// Resume ends the suspension of the token or session of id, of any prefix. Its texts and those of
// its delegates work again; the time that passed counted. That is durable before Resume returns,
// and Observe is told EventResumed. Connections that were cut stay cut; one that was not yet found
// to be suspended may stay open, if Resume follows Suspend at once.
//
// changed reports whether Resume ended a suspension. It is false, with no error, for a token that is
// not suspended itself. If the token is dead by its record or one above it, the error is a
// *Rejection that says how it died: ErrExpired, ErrRevoked or ErrExhausted. An end is final.
//
// Other errors are ErrNotFound if there is no such token, and the store's. After ErrOutcomeUnknown
// the token may still be suspended: call Resume again.
func (m *Manager) Resume(ctx context.Context, id ID) (changed bool, err error) {
	verb := m.begin(VerbResume, &err)
	defer m.finish(ctx, &verb, &err)
	return m.suspend(ctx, &verb, &suspending{m: m, id: id, resumes: true})
}

// suspend applies s in a transaction, and tells Observe if that changed the token.
func (m *Manager) suspend(ctx context.Context, verb *call, s *suspending) (changed bool, err error) {
	if err := m.updateOfID(ctx, verb, s.id, s.suspendIn); err != nil || !s.changed {
		return false, err
	}
	kind := EventSuspended
	if s.resumes {
		kind = EventResumed
	}
	m.tell(ctx, verb, Event{Kind: kind, At: s.at, Token: s.token, Before: &s.before})
	return true, nil
}

// suspending is one Suspend or one Resume. Its transaction may run more than once, and sets the
// results each time.
type suspending struct {
	m       *Manager
	id      ID
	resumes bool

	// The results of the transaction.
	changed bool
	at      time.Time
	before  Token
	token   Token
}

// suspendIn is the transaction. Like an end, it goes by the records and applies no policy, because
// another policy may accept the token. It puts the record only if the record changes.
func (s *suspending) suspendIn(tx storage.Tx, now time.Time) error {
	s.changed = false
	rec, err := getIn(tx, s.id)
	if err != nil {
		return err
	}
	s.m.showClockEnd(&rec)
	alive, err := liveByRecord(&rec, now, tx.Get)
	if err == nil {
		s.before, err = s.m.tokenIn(tx, &rec)
	}
	switch {
	case err != nil:
		return err
	case !alive && s.resumes:
		return expired(&s.before, s.before.Generation)
	case !alive, rec.SuspendedAt.IsZero() == s.resumes:
		return nil
	}
	rec.SuspendedAt = now
	if s.resumes {
		rec.SuspendedAt = time.Time{}
	}
	s.changed, s.at = true, now
	if s.token, err = s.m.tokenIn(tx, &rec); err != nil {
		return err
	}
	return putIn(tx, &rec)
}

// suspended returns the refusal of tok, which is suspended. generation is that of the secret that is
// refused.
func suspended(tok *Token, generation uint32) *Rejection {
	return &Rejection{Err: ErrSuspended, ID: tok.ID, Subject: tok.Subject, Generation: generation, At: tok.SuspendedAt}
}
