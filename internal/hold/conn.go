package hold

import "context"

// Conn is a connection that is held by a token.
type Conn struct {
	of         *token // nil while h is not registered
	prev, next *Conn
	cancel     context.CancelCauseFunc
	stop       func() bool // lets go of the caller's context
	cause      error       // why h was cut before it was armed
	generation uint32      // of the secret that opened h; set as h is armed
	armed      bool        // h is known to be good: until then the caller says what became of h
	closed     bool
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
