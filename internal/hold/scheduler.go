package hold

import (
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
