package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
)

// Verb names a verb of this package in an Event and in a StatKey. The zero Verb is that of an
// EventClock of New. Events of held connections have VerbHold or VerbUse. Numbers of verbs may
// change between versions; their words, which String returns, do not.
type Verb uint8

const (
	VerbAuthenticate  Verb = 1 + iota // Manager.Authenticate
	VerbPeek                          // Manager.Peek
	VerbHold                          // Manager.Hold, and events of connections that it returned
	VerbUse                           // Hold.Use
	VerbRenew                         // Manager.Renew
	VerbConfirm                       // Manager.Confirm
	VerbIssue                         // Manager.Issue
	VerbLogin                         // Login
	VerbIdentify                      // Identify
	VerbObtain                        // Manager.Obtain
	VerbImport                        // Manager.Import
	VerbDelegate                      // Manager.Delegate
	VerbRotate                        // Manager.Rotate
	VerbRotateID                      // Manager.RotateID
	VerbExpire                        // Manager.Expire
	VerbExpireBearer                  // ExpireBearer of a Manager or Pairs
	VerbExpireSubject                 // Manager.ExpireSubject
	VerbSuspend                       // Manager.Suspend
	VerbResume                        // Manager.Resume
	VerbEdit                          // Manager.Edit
	VerbForgetSubject                 // Manager.ForgetSubject
	VerbToken                         // Manager.Token
	VerbList                          // Manager.List, each loop once
	VerbCount                         // Manager.Count
	VerbHolds                         // Manager.Holds, each loop once
	VerbWatch                         // Manager.Watch, each loop once
	VerbSweep                         // Manager.Sweep
	VerbAcceptClock                   // Manager.AcceptClock
	VerbIssuePair                     // Pairs.Issue
	VerbRefresh                       // Pairs.Refresh
	VerbPeekPair                      // Pairs.Peek
	VerbSessions                      // Pairs.Sessions, each loop once
	VerbRelease                       // of counters alone: connections that Hold returned and that were released, or whose context ended
	VerbCut                           // of counters alone: connections that Hold returned and that were cut, by the Code of the cause
	VerbSwept                         // of counters alone: records that Sweep deleted

	verbCount = 1 + iota
)

var verbWords = [verbCount]string{
	"none", "authenticate", "peek", "hold", "use", "renew", "confirm", "issue", "login", "identify", "obtain", "import", "delegate", "rotate", "rotate ID",
	"expire", "expire bearer", "expire subject", "suspend", "resume", "edit", "forget subject", "token", "list", "count", "holds", "watch", "sweep", "accept clock",
	"issue pair", "refresh", "peek pair", "sessions", "release", "cut", "swept",
}

// String returns one or two words, as the texts of errors have them.
func (v Verb) String() string {
	if int(v) < len(verbWords) {
		return verbWords[v]
	}
	return verbWords[0]
}

// MarshalText returns the words of String. The error is always nil.
func (v Verb) MarshalText() ([]byte, error) { return []byte(v.String()), nil }

// durable reports whether a call of v may write durably for all that it does. Event.Took is measured
// for these, and is 0 for Authenticate, Hold, Use and verbs that only read.
func (v Verb) durable() bool {
	switch v {
	case VerbAuthenticate, VerbPeek, VerbHold, VerbUse, VerbIdentify, VerbToken, VerbList, VerbCount, VerbHolds, VerbWatch, VerbPeekPair, VerbSessions:
		return false
	}
	return true
}

// call is one call of a verb. Its events have its Verb, and its count its outcome.
type call struct {
	Verb
	outcome outcome       // of the call if it returns no error
	begun   time.Duration // by Elapsed of the Clock; 0: Took is not measured
}

// errNotReturned is what begin sets the error of a verb to. The verb replaces errNotReturned when it
// returns. So finish finds errNotReturned only where a panic or runtime.Goexit ends the verb.
var errNotReturned = errors.New("lapse: the verb has not returned")

// begin returns a call of verb, and sets *err, the result of the verb. The verb defers finish with
// the same err.
func (m *Manager) begin(verb Verb, err *error) call {
	*err = errNotReturned
	c := call{Verb: verb}
	if m.observe != nil && verb.durable() {
		c.begun = m.elapsed()
	}
	return c
}

// elapsed returns Elapsed of the Clock, or 0 if the Clock has no such method.
func (m *Manager) elapsed() time.Duration {
	if clock, ok := m.clock.(steady.Elapser); ok {
		return clock.Elapsed()
	}
	return 0
}

// finish counts verb, which returns err, and tells Observe if the verb could not tell. It is
// deferred. A verb that panics counts as "internal", and so does a verb that runtime.Goexit ends:
// Admit and the body of a loop may call that.
func (m *Manager) finish(ctx context.Context, verb *call, err *error) {
	if p := recover(); p != nil { // the verb may have set *err before it panicked
		m.count(verb.Verb, outcomeInternal, 1)
		panic(p)
	}
	switch *err {
	case nil:
		m.count(verb.Verb, verb.outcome, 1)
		return
	case errNotReturned:
		m.count(verb.Verb, outcomeInternal, 1)
		return
	}
	o := outcomeOf(*err)
	m.count(verb.Verb, o, 1)
	if o.couldNotTell() {
		m.tell(ctx, verb, Event{Kind: EventCouldNotTell, At: m.now(), Err: tellable(*err)})
	}
}
