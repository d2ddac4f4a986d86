package hold

import (
	"container/heap"
	"slices"
	"sync"

	"github.com/seed-55daa01a/lapse/storage"
)

// holds are the connections that one Manager holds. The zero value holds none.
// Nothing of anybody else's is called while mu is locked.
type Scheduler struct {
	cfg       Config
	mu        sync.Mutex
	tokens    map[storage.ID]*token              // by the ID of the bearer
	delegates map[storage.ID]map[*token]struct{} // by the other IDs that decide
	queue     dueQueue                           // those whose end is known and not reached
	run       *run                               // nil while there are none
	timers    []*timer                           // that have not fired; the next run has use for them
	checks    int                                // how many calls of Admit have not returned
}

// New returns a Scheduler without connections.
func New(cfg Config) *Scheduler { return &Scheduler{cfg: cfg} }

// heldToken is a token that connections are held by.
type token struct {
	id        storage.ID
	subject   string       // once it is known
	ancestors []storage.ID // the tokens that it was delegated from, which decide as well
	conns     *Conn
	floor     uint32  // the least generation by which a connection may be held, as far as is known
	expires   instant // when it will have run out, as far as is known
	checkAt   instant // when to ask Admit again
	rereadAt  instant // when to read it again, since it could not be read
	next      instant // the first of these; the key in queue
	position  int32   // in queue, from 1; 0: not there
	toRead    bool    // it waits to be read again
	overdue   bool    // it waits for that since it is due
	toCheck   bool    // it waits for Admit
	spent     bool    // its last use was spent by a hold, so it is to be ended with the last one
}

// Add registers h for the token of id, whose end is not known yet.
func (s *Scheduler) Add(c *Conn, id storage.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed { // its context has ended meanwhile
		return
	}
	if s.run == nil {
		s.tokens, s.delegates = make(map[storage.ID]*token), make(map[storage.ID]map[*token]struct{})
		s.run = startRun(s)
	}
	t := s.tokens[id]
	if t == nil {
		t = &token{id: id, expires: unknown, checkAt: never, rereadAt: never}
		s.tokens[id] = t
	}
	c.of, c.next = t, t.conns
	if t.conns != nil {
		t.conns.prev = c
	}
	t.conns = c
}

// Arm sets the end of the token of h to what tok says, unless h is over already. Then
// it returns why it was cut, if it was. A secret of generation opened h. spent says that
// the last use of tok was spent by that, so that tok is to be ended with the last one.
func (s *Scheduler) Arm(c *Conn, tok *storage.Token, generation uint32, spent bool) (over bool, cause error) {
	now := instantOf(s.cfg.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	t, r := c.of, s.run
	if t == nil {
		return true, c.cause
	}
	t.subject, c.generation = tok.Subject, generation
	if c.generation < t.floor { // its text was replaced since it was read
		return true, s.replaced(t, c)
	}
	c.armed = true
	known, expires := t.expires, instantOf(tok.ExpiresAt)
	t.expires, t.overdue = max(known, expires), false
	t.spent = t.spent || spent
	if s.cfg.Recheck > 0 && t.checkAt == never {
		t.checkAt = now.plus(s.cfg.Recheck)
	}
	s.reschedule(t)
	r.wakeIfNext(t)
	if tok.Parent != (storage.ID{}) || known != unknown && known != expires || c.generation != tok.Generation {
		r.readLater(t) // there is more to know, tok is not the newest, or its text is the previous one
	}
	return false, nil
}

// EndLater has the token of id, which has no uses left, ended with the last of its
// connections, and reports whether there are any.
func (s *Scheduler) EndLater(id storage.ID, subject string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[id]
	if t == nil {
		return false
	}
	t.subject, t.spent = subject, true
	return true
}

// replaced is the cause for h, which was opened by a text of t that was replaced with an
// overlap of 0.
func (s *Scheduler) replaced(t *token, c *Conn) error {
	return s.cfg.Replaced(t.id, t.subject, c.generation)
}

// Holding reports whether a connection is held by the token of id.
func (s *Scheduler) Holding(id storage.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[id]
	if t == nil {
		return false
	}
	for c := t.conns; c != nil; c = c.next {
		if c.armed {
			return true
		}
	}
	return false
}

// Drop forgets h, and has its token ended if that has no uses left and h was its last
// connection.
func (s *Scheduler) Drop(c *Conn) {
	if t := s.drop(c); t != nil {
		go s.cfg.Exhaust(t.id, t.subject) // the store may take its time
	}
}

// drop forgets h. It returns the token to be ended, if h was the last connection of a
// token without uses left, and otherwise nil.
func (s *Scheduler) drop(c *Conn) (spent *token) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.closed = true
	t := c.of
	if t == nil {
		return nil
	}
	s.unlink(c)
	if t.conns != nil {
		return nil
	}
	s.forget(t)
	if t.spent {
		spent = t
	}
	return spent
}

// unlink takes h from the connections of its token.
func (s *Scheduler) unlink(c *Conn) {
	if c.prev != nil {
		c.prev.next = c.next
	} else {
		c.of.conns = c.next
	}
	if c.next != nil {
		c.next.prev = c.prev
	}
	c.of, c.prev, c.next = nil, nil, nil
}

// below takes out the armed connections of t that were opened by a secret below its
// floor, and forgets t if none is left.
func (s *Scheduler) takeBelowFloor(t *token) (first *Conn) {
	for c := t.conns; c != nil; {
		next := c.next
		if c.armed && c.generation < t.floor {
			s.unlink(c)
			c.closed, c.cause = true, s.replaced(t, c)
			c.next, first = first, c
		}
		c = next
	}
	if t.conns == nil {
		s.forget(t)
	}
	return first
}

// knows reports whether anybody is held by t.
func (s *Scheduler) has(t *token) bool { return s.tokens[t.id] == t }

// forget lets go of a token by which nobody is held any more.
func (s *Scheduler) forget(t *token) {
	delete(s.tokens, t.id)
	s.unsubscribe(t)
	if t.position > 0 {
		heap.Remove(&s.queue, int(t.position-1))
	}
	if len(s.tokens) == 0 {
		s.run.stop()
		s.tokens, s.delegates, s.queue, s.run = nil, nil, nil, nil
	}
}

// tie has t hear of those that it was delegated from, and reports whether any of them is
// new.
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

func (s *Scheduler) unsubscribe(t *token) {
	for _, id := range t.ancestors {
		delete(s.delegates[id], t)
		if len(s.delegates[id]) == 0 {
			delete(s.delegates, id)
		}
	}
	t.ancestors = nil
}

// detach forgets t and returns the holds whose contexts are to be ended; those that
// are not armed learn cause when they are to be.
func (s *Scheduler) detach(t *token, cause error) (first *Conn) {
	if !s.has(t) {
		return nil
	}
	for c := t.conns; c != nil; {
		next := c.next
		c.of, c.prev, c.next, c.closed = nil, nil, nil, true
		if c.armed {
			c.next, first = first, c
		} else {
			c.cause = cause
		}
		c = next
	}
	t.conns = nil
	s.forget(t)
	return first
}

// cut ends all connections that t holds.
func (s *Scheduler) cut(t *token, cause error) {
	s.mu.Lock()
	spent := t.spent && s.has(t)
	first := s.detach(t, cause)
	s.mu.Unlock()
	s.endAll(first, cause)
	if spent { // in a goroutine of its own: the store may take its time
		go s.cfg.Exhaust(t.id, t.subject)
	}
}
