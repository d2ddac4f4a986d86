package lapse

import (
	"context"
	"errors"
	"time"
)

// EventKind says what an Event tells of.
type EventKind uint8

const (
	EventIssued        EventKind = 1 + iota // a token was stored, by whatever verb makes one
	EventRenewed                            // Renew or Obtain stored it, or a use moved its expiry
	EventEnded                              // it was ended; Token.EndReason says why
	EventRejected                           // a bearer was refused, or a log-in; Err holds the *Rejection
	EventRenewalFailed                      // a use could not be recorded; it stands, Err says why
	EventClock                              // the clock was behind, and is followed now: earlier tokens are ended with EndClock
	EventRotated                            // its secret was replaced: by Rotate, RotateID, Obtain or Refresh
	EventSpent                              // a text was refused whose secret had been replaced; Err is ErrReplaced or ErrReused
	EventAhead                              // a text has a right tag of a generation that the store has not come to: an older copy of it may have been put back
	EventHookFailed                         // Admit, asked again about a held connection, could not tell and cuts none, or Observe panicked while connections are held; Err says which
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

// Event is what Config.Observe is told. It never holds a secret, and all of it may be
// logged: JSON of an Event, and a slog.JSONHandler, write Err as its code, as Code returns
// it, and its text. A token that runs out makes no event of its own: the first one that
// tells of it is the rejection of a text of that token.
type Event struct {
	Kind  EventKind `json:"kind"`
	At    time.Time `json:"at"`
	Token Token     `json:"token,omitzero"` // as it is after the effect; of a rejected one what the Rejection knows
	Err   error     `json:"err,omitempty"`  // why, for EventRejected, EventSpent, EventRenewalFailed and EventHookFailed; for errors.Is and errors.As
}

func (m *Manager) tell(ctx context.Context, e Event) {
	if m.observe != nil {
		e.Err = withJSON(e.Err)
		m.observe(ctx, e)
	}
}

func (m *Manager) tellEnded(ctx context.Context, tokens []Token) {
	for _, tok := range tokens {
		m.tell(ctx, Event{Kind: EventEnded, At: tok.EndedAt, Token: tok})
	}
}

// maxTellApart is how many goroutines tell Observe of what happened to held connections, at
// a time: with an Observe that hangs there are no more, and the rest is not told.
const maxTellApart = 64

// tellApart is tell in a goroutine of its own, for those that serve held connections: an
// Observe that hangs or panics keeps none of them.
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

// refuse tells of a rejection and returns it: a *Rejection, or ErrMalformed.
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
