package hold

import "context"

// Conn is a connection that is held by a token.
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

// Open returns the context that ends when h does. gone is called in a goroutine of its
// own when parent, or that context, has ended without End.
func (c *Conn) Open(parent context.Context, gone func()) context.Context {
	ctx, cancel := context.WithCancelCause(parent)
	c.cancel = cancel
	c.stop = context.AfterFunc(parent, gone)
	return ctx
}

// End ends the context of h. Nobody's lock is held, since others may wait for that.
func (c *Conn) End(cause error) {
	c.stop()
	c.cancel(cause)
}

// endAll ends the contexts of c and of those behind it, which nobody else knows.
func (s *Scheduler) endAll(c *Conn) {
	for c != nil {
		next := c.next
		c.next = nil
		c.End(s.cfg.ByGeneration(c.cause, c.generation))
		c = next
	}
}
