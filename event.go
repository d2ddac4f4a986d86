package lapse

import (
	"context"
	"errors"
	"time"
)

// EventKind says what happened.
type EventKind uint8

const (
	EventIssued        EventKind = 1 + iota // a token was stored, by any verb that makes one
	EventRenewed                            // the token was renewed, by Renew, Obtain or a use
	EventEnded                              // the token was ended; Token.EndReason says why
	EventRejected                           // a bearer or a log-in was refused; Err holds the *Rejection
	EventRenewalFailed                      // a use was good and could not be recorded; Err says why
	EventClock                              // the clock was behind, and is followed now: earlier tokens are ended with EndClock
	EventRotated                            // the secret was replaced, by Rotate, RotateID, Obtain or Refresh
	EventSpent                              // a text was refused because its secret had been replaced; Err is ErrReplaced or ErrReused
	EventAhead                              // a text has a right tag of a later generation than the store: the store may have been replaced by an older copy
	EventHookFailed                         // about held connections, Admit could not tell, which cuts none, or Observe panicked; Err says which
)

var eventKinds = [...]string{"unknown", "issued", "renewed", "ended", "rejected", "renewal failed", "clock", "rotated", "spent", "ahead", "hook failed"}

// String returns one or two lower-case words.
func (k EventKind) String() string {
	if int(k) < len(eventKinds) {
		return eventKinds[k]
	}
	return eventKinds[0]
}

// MarshalText returns the words of String. The error is always nil.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Event is the argument of Config.Observe. It never contains a secret, and all of it may be
// logged: JSON of an Event, and a slog.JSONHandler, write Err as its text and its code, as Code
// returns that. A token that runs out makes no event; a later text of it that is refused makes
// one.
type Event struct {
	Kind  EventKind `json:"kind"`
	At    time.Time `json:"at"`
	Token Token     `json:"token,omitzero"` // as it is after the effect; of a refusal the fields that the Rejection has
	Err   error     `json:"err,omitempty"`  // why, of EventRejected, EventSpent, EventRenewalFailed and EventHookFailed; for errors.Is and errors.As
}

// tell calls Config.Observe, if there is one.
func (m *Manager) tell(ctx context.Context, e Event) {
	if m.observe != nil {
		e.Err = withJSON(e.Err)
		m.observe(ctx, e)
	}
}

// tellEnded tells Observe of the end of each of tokens.
func (m *Manager) tellEnded(ctx context.Context, tokens []Token) {
	for _, tok := range tokens {
		m.tell(ctx, Event{Kind: EventEnded, At: tok.EndedAt, Token: tok})
	}
}

// maxTellApart is how many goroutines of tellApart can run at a time. If Observe hangs in so many
// of them, it is told no more by tellApart.
const maxTellApart = 64

// tellApart is tell in a goroutine of its own. The goroutines that serve held connections use it,
// so that an Observe that hangs or panics does not stop them.
func (m *Manager) tellApart(e Event) {
	if m.observe == nil {
		return
	}
	if m.apart.Add(1) > maxTellApart {
		m.apart.Add(-1)
		return
	}
	go func() {
		defer m.apart.Add(-1)
		defer func() {
			if recover() != nil && e.Kind != EventHookFailed {
				m.tellApart(Event{Kind: EventHookFailed, At: e.At, Token: e.Token, Err: errObservePanicked})
			}
		}()
		m.tell(context.Background(), e)
	}()
}

var errObservePanicked = errors.New("lapse: hold: Observe panicked")

// refuse tells Observe of a refusal, and returns err: a *Rejection, or ErrMalformed.
func (m *Manager) refuse(ctx context.Context, err error) error {
	if m.observe == nil {
		return err
	}
	e := Event{Kind: EventRejected, At: m.now(), Err: withJSON(err)}
	if r, ok := err.(*Rejection); ok {
		e.Token.ID, e.Token.Subject, e.Token.Generation = r.ID, r.Subject, r.Generation
		if r.Err == ErrReplaced || r.Err == ErrReused {
			e.Kind = EventSpent
		}
	}
	m.observe(ctx, e)
	return err
}
