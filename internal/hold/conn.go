package hold

import "context"

// Conn is a connection that is held by a token. The zero Conn must be opened before it is
// used. Its fields other than cancel and stop are under the lock of the Scheduler.
type Conn struct {
	of         *token // nil before Add and after the Scheduler has forgotten the Conn
	prev, next *Conn  // in the list of the token, or in a list for endAll
	cancel     context.CancelCauseFunc
	stop       func() bool // ends the watch of the parent context
	cause      error       // why the Conn was cut
	generation uint32      // of the secret that opened the Conn; Arm sets it
	armed      bool        // the Scheduler ends the context; until then the caller does
	closed     bool        // the Scheduler has forgotten the Conn, or was told to
}

// Open returns a context that ends with parent, or by End. If parent ends first, gone is
// called in a goroutine of its own.
func (c *Conn) Open(parent context.Context, gone func()) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	c.cancel = cancel
	c.stop = context.AfterFunc(parent, gone)
	return ctx
}

// End ends the context with cause, if it has not ended. End must be called without locks:
// the functions that a caller has registered on the context may run before End returns.
func (c *Conn) End(cause error) {
	c.stop()
	c.cancel(cause)
}

// endAll ends the contexts in the list that begins with c, each with its own cause. The
// list is one that takeBelowFloor or detach returned, so no other goroutine has it. endAll tells
// Config.Cut of them.
func (s *Scheduler) endAll(c *Conn) {
	var causes []error
	for c != nil {
		next := c.next
		c.next = nil
		cause := s.cfg.ByGeneration(c.cause, c.generation)
		c.End(cause)
		causes = append(causes, cause)
		c = next
	}
	if len(causes) > 0 {
		s.cfg.Cut(causes)
	}
}
