package lapse

import (
	"context"
	"errors"
	"iter"
	"slices"
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
	VerbBeginDevice                   // DeviceLogin.Begin
	VerbLookupDevice                  // DeviceLogin.Lookup
	VerbApproveDevice                 // DeviceLogin.Approve
	VerbDenyDevice                    // DeviceLogin.Deny
	VerbPollDevice                    // DeviceLogin.Poll
	VerbAwaitDevice                   // DeviceLogin.Await
	VerbRelease                       // of counters alone: connections that Hold returned and that were released, or whose context ended
	VerbCut                           // of counters alone: connections that Hold returned and that were cut, by the Code of the cause
	VerbSwept                         // of counters alone: records that Sweep deleted
	VerbClocks                        // of counters alone: how often the clock and that of the store began to disagree

	verbCount = 1 + iota
)

var verbWords = [verbCount]string{
	"none", "authenticate", "peek", "hold", "use", "renew", "confirm", "issue", "login", "identify", "obtain", "import", "delegate", "rotate", "rotate ID",
	"expire", "expire bearer", "expire subject", "suspend", "resume", "edit", "forget subject", "token", "list", "count", "holds", "watch", "sweep", "accept clock",
	"issue pair", "refresh", "peek pair", "sessions",
	"begin device", "look up device", "approve device", "deny device", "poll device", "await device", "release", "cut", "swept", "clocks",
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
// for these, and is 0 for Authenticate, Hold, Use, Await, which waits for a user, and verbs that only read.
func (v Verb) durable() bool {
	switch v {
	case VerbAuthenticate, VerbPeek, VerbHold, VerbUse, VerbIdentify, VerbToken, VerbList, VerbCount, VerbHolds, VerbWatch, VerbPeekPair, VerbSessions, VerbAwaitDevice:
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

// Stats are the counters of a Manager, as they were when Manager.Stats returned them. They begin
// at zero when the Manager is made, and never decrease.
type Stats struct {
	counts []uint64 // by statIndex
}

// StatKey names one of the Stats: how often a verb had an outcome.
//
// Outcome is "ok", "renewed" if the call renewed the token, "repeated" if it gave an answer again,
// or the Code of the error that it returned. A call that panicked is "internal". A loop over List,
// Holds, Watch or Sessions counts once, by its first error. VerbRelease, VerbCut,
// VerbSwept and VerbClocks count what their comments say.
type StatKey struct {
	Verb    Verb   `json:"verb"`
	Outcome string `json:"outcome"`
}

// Stats returns the counters of m. Every call of a verb is counted once, after its effect and when
// it returns. The two Managers of Pairs have the same counters, which count the verbs of the Pairs,
// too.
func (m *Manager) Stats() Stats { return Stats{m.counts.Sums()} }

// Get returns how often the verb of key had the outcome of key, and 0 for a key that does not exist.
func (s Stats) Get(key StatKey) (n uint64) {
	if int(key.Verb) >= verbCount || len(s.counts) == 0 {
		return 0
	}
	for o := range outcome(outcomeCount) { // several outcomes can have one word
		if o.String() == key.Outcome {
			n += s.counts[statIndex(key.Verb, o)]
		}
	}
	return n
}

// All yields the counters that are not zero, in an order that is always the same.
func (s Stats) All() iter.Seq2[StatKey, uint64] {
	return func(yield func(StatKey, uint64) bool) {
		for verb := range Verb(len(s.counts) / outcomeCount) {
			row := s.counts[statIndex(verb, 0):][:outcomeCount]
			if slices.Max(row) == 0 { // as for most verbs
				continue
			}
			for o := range outcome(outcomeCount) {
				key := StatKey{verb, o.String()}
				if !o.firstOfWord() {
					continue
				}
				if n := s.Get(key); n > 0 && !yield(key, n) {
					return
				}
			}
		}
	}
}

// outcome is what a call of a verb came to: one of the constants, or outcomeCodes and the index of
// an error in codes.
type outcome uint8

const (
	outcomeOK       outcome = iota
	outcomeRenewed          // the call renewed the token
	outcomeRepeated         // the answer had been given before
	outcomeInternal         // the error has no Code of its own, or the call panicked
	outcomeCodes

	outcomeCount = int(outcomeCodes) + len(codes)
)

var outcomeWords = [outcomeCodes]string{"ok", "renewed", "repeated", "internal"}

// outcomeOf returns the outcome of a call that returned err, outcomeOK for nil.
func outcomeOf(err error) outcome {
	if err == nil {
		return outcomeOK
	}
	for i := range codes {
		if errors.Is(err, codes[i].err) {
			return outcomeCodes + outcome(i)
		}
	}
	return outcomeInternal
}

// String returns the word of o in a StatKey.
func (o outcome) String() string {
	if o < outcomeCodes {
		return outcomeWords[o]
	}
	return codes[o-outcomeCodes].word
}

// firstOfWord reports whether o is the first outcome with its word.
func (o outcome) firstOfWord() bool {
	for before := range o {
		if before.String() == o.String() {
			return false
		}
	}
	return true
}

// couldNotTell reports whether o means that a verb failed because of the store, the context, the
// clock, a hook or a Verifier: by nothing that its caller asked for, and by no verdict.
func (o outcome) couldNotTell() bool {
	if o < outcomeCodes {
		return o == outcomeInternal
	}
	switch codes[o-outcomeCodes].err {
	case ErrClock, ErrOutcomeUnknown, ErrConflict, ErrClosed, ErrCorrupt, ErrLocked, ErrUnavailable, context.Canceled, context.DeadlineExceeded:
		return true
	}
	return false
}

// statCount is how many counters there are.
const statCount = verbCount * outcomeCount

// statIndex returns the index of a counter.
func statIndex(verb Verb, o outcome) int { return int(verb)*outcomeCount + int(o) }

// count adds n to a counter.
func (m *Manager) count(verb Verb, o outcome, n uint64) {
	m.counts.Add(statIndex(verb, o), n)
}
