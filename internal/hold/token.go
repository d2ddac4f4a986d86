package hold

import (
	"container/heap"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// token is a token that connections are held by. Its fields other than id are under the
// lock of the Scheduler.
type token struct {
	id        storage.ID
	subject   string       // "" until a connection is armed
	ancestors []storage.ID // the tokens that this one was delegated from, as last read
	conns     *Conn        // the first of the list
	floor     uint32       // the least generation by which a connection may be held, as last read
	expires   instant      // the expiry as last read, or unknown
	checkAt   instant      // when Admit is asked again
	rereadAt  instant      // when the token is read again because it was unreadable
	next      instant      // when the token is due, as Scheduler.dueAt says; the key in the queue
	position  int32        // in the queue, from 1; 0 if the token is not there
	toRead    bool         // the token is in run.toRead
	unheard   bool         // a token above this one may not be in ancestors
	overdue   bool         // the token expired and has not been read since
	spent     bool         // the budget is used up: the token is ended with its last connection
}

// has reports whether s has not forgotten t.
func (s *Scheduler) has(t *token) bool { return s.tokens[t.id] == t }

// forget removes t, which has no connections, and stops the run if t was the last token.
func (s *Scheduler) forget(t *token) {
	delete(s.tokens, t.id)
	delete(s.warnings, t)
	s.unsubscribe(t)
	if t.position > 0 {
		heap.Remove(&s.queue, int(t.position-1))
	}
	if len(s.tokens) == 0 {
		s.run.stop()
		s.tokens, s.delegates, s.queue, s.run = nil, nil, nil, nil
		s.notices, s.warnings = nil, nil
	}
}

// unlink removes c from the list of its token.
func (s *Scheduler) unlink(c *Conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		c.of.conns = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	s.release(c)
}

// release marks c, which is in no list of a token any more, as forgotten.
func (s *Scheduler) release(c *Conn) {
	c.of, c.prev, c.next, c.closed = nil, nil, nil, true
	s.conns--
	if c.noticed {
		delete(s.notices, c)
		c.noticed = false
	}
}

// takeBelowFloor removes the armed connections of t that a secret below the floor opened,
// and returns them as a list for endAll. It forgets t if no connection remains.
func (s *Scheduler) takeBelowFloor(t *token) (first *Conn) {
	for c := t.conns; c != nil; {
		next := c.next
		if c.armed && c.generation < t.floor {
			s.unlink(c)
			cause := s.replaced(t, c)
			c.cause, c.next, first = &cause, first, c
		}
		c = next
	}
	if t.conns == nil {
		s.forget(t)
	}
	return first
}

// detach forgets t and all its connections, and sets their cause. It returns the armed
// ones as a list for endAll. For the others, Arm will return the cause.
func (s *Scheduler) detach(t *token, cause error) (first *Conn) {
	if !s.has(t) {
		return nil
	}
	for c := t.conns; c != nil; {
		next := c.next
		s.release(c)
		if c.cause = &cause; c.armed {
			c.next, first = first, c
		}
		c = next
	}
	t.conns = nil
	s.forget(t)
	return first
}

// cutConn ends c with cause, if it has not ended. If c was the last connection of a token that
// is marked as spent, cutConn has the token ended.
func (s *Scheduler) cutConn(c *Conn, cause error) {
	s.mu.Lock()
	t, spent := c.of, false
	if t != nil {
		s.unlink(c)
		c.cause = &cause
		if t.conns == nil {
			s.forget(t)
			spent = t.spent
		}
	}
	s.mu.Unlock()
	if t != nil {
		s.endAll(c)
	}
	if spent {
		s.exhaust(t)
	}
}

// cut ends all connections of t with cause. If t is marked as spent, cut has it ended.
func (s *Scheduler) cut(t *token, cause error) {
	s.mu.Lock()
	spent := t.spent && s.has(t)
	first := s.detach(t, cause)
	s.mu.Unlock()
	s.endAll(first)
	if spent {
		s.exhaust(t)
	}
}

// exhaust has t ended in a goroutine of its own, since the store may be slow.
func (s *Scheduler) exhaust(t *token) { go s.cfg.Exhaust(t.id, t.subject) }

// subscribe has changes of the ancestors read t again. It returns true if an ancestor is
// new: a change of it before this call was missed.
func (s *Scheduler) subscribe(t *token, ancestors []storage.ID) (more bool) {
	more = slices.ContainsFunc(ancestors, func(id storage.ID) bool { return !slices.Contains(t.ancestors, id) })
	s.unsubscribe(t)
	t.ancestors = ancestors
	for _, id := range ancestors {
		if s.delegates[id] == nil {
			s.delegates[id] = make(map[*token]struct{})
		}
		s.delegates[id][t] = struct{}{}
	}
	return more
}

// unsubscribe undoes subscribe.
func (s *Scheduler) unsubscribe(t *token) {
	for _, id := range t.ancestors {
		delete(s.delegates[id], t)
		if len(s.delegates[id]) == 0 {
			delete(s.delegates, id)
		}
	}
	t.ancestors = nil
}

// replaced returns the cause for c, which a secret of t below its floor opened.
func (s *Scheduler) replaced(t *token, c *Conn) error {
	return s.cfg.Replaced(t.id, t.subject, c.generation)
}

// ranOut returns the cause for the connections of t, which expired unread.
func (s *Scheduler) ranOut(t *token) error {
	return s.cfg.RanOut(t.id, t.subject, t.expires.time())
}
