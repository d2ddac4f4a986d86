package lapse

import "time"

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
)

var eventKinds = [...]string{"unknown", "issued", "renewed", "ended", "rejected", "renewal failed", "clock", "rotated", "spent", "ahead"}

// String returns one or two lower-case words.
func (k EventKind) String() string {
	if int(k) < len(eventKinds) {
		return eventKinds[k]
	}
	return eventKinds[0]
}

// MarshalText returns the words of String. The error is always nil.
func (k EventKind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// Event is what Config.Observe is told. It never holds a secret. A token that
// runs out makes no event of its own: the first one that tells of it is the
// rejection of whoever still presents it.
type Event struct {
	Kind  EventKind
	At    time.Time
	Token Token // as it is after the effect; of a rejected one what the Rejection knows
	Err   error // why, for EventRejected, EventSpent and EventRenewalFailed
}

func (m *Manager) tell(e Event) {
	if m.observe != nil {
		m.observe(e)
	}
}

// refuse tells of a rejection and returns it: a *Rejection, or ErrMalformed.
func (m *Manager) refuse(err error) error {
	if m.observe == nil {
		return err
	}
	e := Event{Kind: EventRejected, At: m.now(), Err: err}
	if r, ok := err.(*Rejection); ok {
		e.Token.ID, e.Token.Subject, e.Token.Generation = r.ID, r.Subject, r.Generation
		if r.Err == ErrReplaced || r.Err == ErrReused {
			e.Kind = EventSpent
		}
	}
	m.observe(e)
	return err
}
