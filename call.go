package lapse

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
)

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
