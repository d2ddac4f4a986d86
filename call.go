package lapse

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
)

// call is one call of a verb. Its events have its Verb, and its count its outcome.
type call struct {
	Verb
	outcome outcome       // of the call if it returns no error
	begun   time.Duration // by Elapsed of the Clock; 0: Took is not measured
}

// begin returns a call of verb. The verb calls finish when it returns.
func (m *Manager) begin(verb Verb) call {
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
// deferred. A verb that panics counts as "internal".
func (m *Manager) finish(ctx context.Context, verb *call, err *error) {
	if p := recover(); p != nil {
		m.count(verb.Verb, outcomeInternal, 1)
		panic(p)
	}
	if *err == nil {
		m.count(verb.Verb, verb.outcome, 1)
		return
	}
	o := outcomeOf(*err)
	m.count(verb.Verb, o, 1)
	if o.couldNotTell() {
		m.tell(ctx, verb, Event{Kind: EventCouldNotTell, At: m.now(), Err: tellable(*err)})
	}
}
