package lapse

import (
	"context"
	"errors"
	"time"
)

// EventKind says what happened.
type EventKind uint8

const (
	EventIssued            EventKind = 1 + iota // a token was stored, by Issue, Login, Obtain, Delegate, Issue of Pairs or Approve
	EventRenewed                                // the token was renewed, by Renew, Obtain or a use
	EventEnded                                  // the token was ended; Token.EndReason says why
	EventRejected                               // a bearer, a log-in, a code of a device, an Issue by a RequestID or an Obtain was refused; Err holds the *Rejection
	EventRenewalFailed                          // a use was good and could not be recorded; Err says why
	EventClock                                  // the clock was behind, and is followed now: earlier tokens are ended with EndClock
	EventRotated                                // the secret was replaced, by Rotate, RotateID, Obtain or Refresh
	EventSpent                                  // a text, not a use, was refused because its secret had been replaced; Err is ErrReplaced or ErrReused
	EventAhead                                  // a text has a right tag of a later generation than the store: the store may have been replaced by an older copy
	EventHookFailed                             // about held connections, Admit could not tell, which cuts none, or Observe panicked; Err says which
	EventHeld                                   // Hold returned a held connection
	EventCut                                    // a held connection was cut, possibly before the EventEnded or EventHeld of its token is told; Err is the cause of its context
	EventSwept                                  // Sweep deleted N records
	EventRepeated                               // an answer was given again: by Refresh, Rotate, Import, Issue by a RequestID, Approve, Poll, or to a repetition of the last use of a budget
	EventCouldNotTell                           // a verb failed because of the store, the context, the clock, Admit or a Verifier; Err says why
	EventConfirmed                              // Confirm recorded that the user was present
	EventSuspended                              // Suspend suspended the token; its delegates, which are refused with it, make no event
	EventResumed                                // Resume ended the suspension of the token
	EventImported                               // Import stored a token of another system
	EventEdited                                 // Edit changed the token
	EventForgotten                              // ForgetSubject deleted N tokens of Token.Subject
	EventClockDisagreement                      // the Clock and that of the store are apart by more than ClockTolerance; Err, an ErrClock, says which is wrong, if that is known
	EventRedeemed                               // a device got the texts of its session, by Poll or Await

	eventKindCount = 1 + iota
)

var eventKinds = [eventKindCount]string{
	"unknown", "issued", "renewed", "ended", "rejected", "renewal failed", "clock", "rotated", "spent", "ahead", "hook failed",
	"held", "cut", "swept", "repeated", "could not tell", "confirmed", "suspended", "resumed", "imported", "edited", "forgotten", "clocks disagree", "redeemed",
}

// String returns one to three lower-case words.
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
// returns that. LogEvents returns an Observe that does so.
//
// These make no event: a good use that renews nothing; a Peek, an Identify and a list that succeed; a
// call that changes nothing, such as an Edit, a Suspend or an Expire; an error about what was asked
// for, such as ErrLimit, ErrInvalidGrant, ErrInvalidQuery and ErrNotFound; and RotateID, Resume and
// Edit of a dead token. A token that runs out makes none, until a text of that token is refused.
// Manager.Stats counts all calls.
//
// Of a token that ends, EventCut of a connection may be told before EventEnded.
type Event struct {
	Kind   EventKind     `json:"kind"`
	At     time.Time     `json:"at"`
	Verb   Verb          `json:"verb,omitzero"`     // which verb was called; zero: an EventClock of New
	Prefix string        `json:"prefix"`            // of the texts of the Manager
	Actor  Actor         `json:"actor,omitzero"`    // of the context of the verb
	Took   time.Duration `json:"took_ns,omitempty"` // from the call of the verb to this event; 0 for Authenticate, Hold, Use, Await and verbs that only read, and for a Clock without Elapsed
	Token  Token         `json:"token,omitzero"`    // as it is after the effect; of a refusal and a cut the fields that the Rejection has
	Before *Token        `json:"before,omitempty"`  // of EventRenewed, EventConfirmed, EventSuspended, EventResumed and EventEdited: as it was before
	N      int           `json:"n,omitempty"`       // of EventSwept: how many records; of EventForgotten: how many tokens
	Err    error         `json:"err,omitempty"`     // why, of the kinds that say so; for errors.Is and errors.As
}

// tell calls Config.Observe, if there is one, with e as an event of verb.
func (m *Manager) tell(ctx context.Context, verb *call, e Event) {
	if m.observe == nil {
		return
	}
	e.Verb, e.Prefix, e.Err = verb.Verb, m.prefix, withJSON(e.Err)
	e.Actor = actorOf(ctx)
	if verb.begun != 0 {
		e.Took = max(0, m.elapsed()-verb.begun)
	}
	m.observe(ctx, e)
}

// tellEnded tells Observe of the end of each of tokens.
func (m *Manager) tellEnded(ctx context.Context, verb *call, tokens []Token) {
	if m.observe == nil { // an Event is large: none is made for no Observe
		return
	}
	for _, tok := range tokens {
		m.tell(ctx, verb, Event{Kind: EventEnded, At: tok.EndedAt, Token: tok})
	}
}

// renewed counts verb as one that renewed tok, and tells Observe. before is the token as it was, and
// at the instant of the renewal.
func (m *Manager) renewed(ctx context.Context, verb *call, at time.Time, before, tok *Token) {
	verb.outcome = outcomeRenewed
	if m.observe != nil {
		was := *before
		m.tell(ctx, verb, Event{Kind: EventRenewed, At: at, Token: *tok, Before: &was})
	}
}

// repeated counts verb as one that gave an answer again, and tells Observe. at is the instant of the
// decision to do so.
func (m *Manager) repeated(ctx context.Context, verb *call, at time.Time, tok *Token) {
	verb.outcome = outcomeRepeated
	if m.observe != nil {
		m.tell(ctx, verb, Event{Kind: EventRepeated, At: at, Token: *tok})
	}
}

// maxTellApart is how many goroutines of tellApart can run at a time. If Observe hangs in so many
// of them, it is told no more by tellApart.
const maxTellApart = 64

// tellApart is tell in a goroutine of its own, for events of verb that no call caused. The
// goroutines that serve held connections use it, so that an Observe that hangs or panics does not
// stop them.
func (m *Manager) tellApart(verb Verb, e Event) {
	if m.observe == nil {
		return
	}
	if m.apart.Add(1) > maxTellApart {
		m.apart.Add(-1)
		return
	}
	go func() {
		defer m.apart.Add(-1)
		m.tellSafely(verb, e)
	}()
}

// tellSafely is tell for an event of verb that no call caused. If Observe panics, it is told of
// that, and a second panic is ignored.
func (m *Manager) tellSafely(verb Verb, e Event) {
	defer func() {
		if recover() != nil && e.Kind != EventHookFailed {
			m.tellSafely(verb, Event{Kind: EventHookFailed, At: e.At, Token: e.Token, Err: errObservePanicked})
		}
	}()
	m.tell(context.Background(), &call{Verb: verb}, e)
}

var errObservePanicked = errors.New("lapse: hold: Observe panicked")

// refuse tells Observe that verb refuses a text or credentials, and returns err: a *Rejection, or
// ErrMalformed.
func (m *Manager) refuse(ctx context.Context, verb *call, err error) error {
	if m.observe == nil {
		return err
	}
	e := refusedEvent(EventRejected, m.now(), err)
	if r, ok := err.(*Rejection); ok && verb.Verb != VerbUse && (r.Err == ErrReplaced || r.Err == ErrReused) {
		e.Kind = EventSpent // a Use presents no text
	}
	m.tell(ctx, verb, e)
	return err
}

// refusedEvent returns the event of kind at now for err, with what the *Rejection in err, if there
// is one, says of the token.
func refusedEvent(kind EventKind, now time.Time, err error) Event {
	e := Event{Kind: kind, At: now, Err: err}
	if r, ok := err.(*Rejection); ok {
		e.Token.ID, e.Token.Subject, e.Token.Generation = r.ID, r.Subject, r.Generation
	}
	return e
}
