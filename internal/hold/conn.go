package hold

import (
	"context"
	"sync/atomic"
)

// Conn is a connection that is held by a token. The zero Conn must be opened before it is
// used. Its fields are under the lock of the Scheduler, except those that Open sets.
type Conn struct {
	of         *token                  // nil before Add and after the Scheduler has forgotten the Conn
	prev, next *Conn                   // in the list of the token, or in a list for endAll
	ctx        context.Context         // Open sets it
	cancel     context.CancelCauseFunc // Open sets it
	stop       func() bool             // ends the watch of the parent context; Open sets it
	cause      *error                  // why the Conn was cut, nil if it was not
	readAt     atomic.Uint64           // a ReadAt; no lock
	generation uint32                  // of the secret that opened the Conn; nothing changes it after Arm
	armed      bool                    // the Scheduler ends the context; until then the caller does
	closed     bool                    // the Scheduler has forgotten the Conn, or was told to
	toCheck    bool                    // the Conn is in run.toCheck, or a check of it runs
	noticed    bool                    // Scheduler.notices has the Conn
}

// Open returns a context that ends with parent, or by End. If parent ends first, gone is
// called in a goroutine of its own.
func (c *Conn) Open(parent context.Context, gone func()) context.Context {
	c.ctx, c.cancel = context.WithCancelCause(parent)
	c.stop = context.AfterFunc(parent, gone)
	return c.ctx
}

// ReadAt says from which instant on a use by a connection reads the record of the token. Its lower
// 48 bits have that instant in Unix milliseconds, as far as the year 9999, or 0 for every use. Above
// them is how often the Scheduler has heard that the record may have changed.
type ReadAt uint64

const atBits = 1<<48 - 1

// After reports whether the instant is after now, in Unix milliseconds.
func (r ReadAt) After(now int64) bool { return r&atBits != 0 && now < int64(r&atBits) }

// ReadAt returns the ReadAt of c. It has no instant before the first SetReadAt, and again as soon as
// the Scheduler has heard of a change.
func (c *Conn) ReadAt() ReadAt { return ReadAt(c.readAt.Load()) }

// SetReadAt sets the instant, unless ReadAt has changed since it returned seen: then the record that
// a use has read may be old.
func (c *Conn) SetReadAt(seen ReadAt, at int64) {
	c.readAt.CompareAndSwap(uint64(seen), uint64(seen&^atBits)|uint64(max(0, at)))
}

// resetReadAt takes the instant from the ReadAt of each connection of t, and counts a change. Its
// caller has the lock.
func (t *token) resetReadAt() {
	for c := t.conns; c != nil; c = c.next {
		for at := c.readAt.Load(); !c.readAt.CompareAndSwap(at, (at|atBits)+1); {
			at = c.readAt.Load()
		}
	}
}

// Context returns the context that Open returned.
func (c *Conn) Context() context.Context { return c.ctx }

// Generation returns the generation of the secret that opened c. It is called after Arm.
func (c *Conn) Generation() uint32 { return c.generation }

// End ends the context with cause, and reports whether that is why the context ended: it may have
// ended before. End must be called without locks: the functions that a caller has registered on
// the context may run before End returns.
func (c *Conn) End(cause error) (why bool) {
	c.stop()
	c.cancel(cause)
	return context.Cause(c.ctx) == cause
}

// endAll ends the contexts in the list that begins with c, each with its own cause. The
// list is one that takeBelowFloor or detach returned, so no other goroutine has it. endAll tells
// Config.Cut of them.
func (s *Scheduler) endAll(c *Conn) {
	var causes []error
	for c != nil {
		next := c.next
		c.next = nil
		cause := s.cfg.ByGeneration(*c.cause, c.generation)
		if !c.End(cause) {
			cause = nil // the client had left
		}
		causes = append(causes, cause)
		c = next
	}
	if len(causes) > 0 {
		s.cfg.Cut(causes)
	}
}
