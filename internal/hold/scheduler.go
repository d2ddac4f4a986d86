package hold

import (
	"sync"

	"github.com/seed-55daa01a/lapse/storage"
)

// Scheduler cuts connections when their tokens die. It is safe for concurrent use. Its
// goroutines start with the first connection and end with the last one. New makes a
// Scheduler.
type Scheduler struct {
	cfg Config

	mu        sync.Mutex                         // no function of a caller runs under it, except RanOut and Replaced
	tokens    map[storage.ID]*token              // by their IDs
	delegates map[storage.ID]map[*token]struct{} // by the IDs of their ancestors
	queue     dueQueue                           // of the tokens whose expiry is known and not reached
	run       *run                               // nil while there are no tokens
	conns     int                                // how many connections the tokens have
	notices   map[*Conn][]*notice                // of the connections that have any
	warnings  map[*token]warning                 // of the tokens that a notice before the end waits for
	timers    []*timer                           // the timers that have not fired; a later run may use them
	checks    int                                // how many calls of Config.Check have not returned, of all runs
}

// New returns a Scheduler without connections.
func New(cfg Config) *Scheduler { return &Scheduler{cfg: cfg} }

// Add registers c for the token of id before the token is read, so that c misses no end.
// It does nothing if c was dropped already.
func (s *Scheduler) Add(c *Conn, id storage.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.closed {
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
	s.conns++
}

// Arm tells the Scheduler that the token of c was found live, as tok, by a secret of
// generation. From then on the Scheduler ends c by itself. spent says that this check
// used up the budget of tok: the token is then ended with the last of its connections.
//
// Arm returns true if c was dropped or cut since Add, and the cause if it was cut. The
// caller ends c then.
func (s *Scheduler) Arm(c *Conn, tok *storage.Token, generation uint32, spent bool) (over bool, cause error) {
	now := instantOf(s.cfg.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	t := c.of
	if t == nil {
		if c.cause != nil {
			cause = *c.cause
		}
		return true, cause
	}
	t.subject, c.generation = tok.Subject, generation
	if generation < t.floor { // a rotation replaced the secret after the caller read the record
		return true, s.replaced(t, c)
	}
	c.armed = true
	known, expires := t.expires, instantOf(tok.ExpiresAt)
	t.expires, t.overdue = max(known, expires), false
	t.spent = t.spent || spent
	if s.cfg.Recheck > 0 && t.checkAt == never {
		t.checkAt = now.plus(s.cfg.Recheck)
	}
	s.schedule(t)
	// The ancestors of a delegate are not known yet. Two expiries that differ, or a secret
	// that is not the current one, mean that tok may be older than the record is now.
	t.unheard = t.unheard || tok.Parent != (storage.ID{}) && t.ancestors == nil
	if tok.Parent != (storage.ID{}) || known != unknown && known != expires || generation != tok.Generation {
		s.run.readLater(t)
	}
	return false, nil
}

// EndLater marks the token of id, whose budget is used up, to be ended with the last of
// its connections. It returns false if no connection is held by the token.
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

// Holding reports whether an armed connection is held by the token of id.
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

// Connections returns the number of armed connections of each token that has any.
func (s *Scheduler) Connections() map[storage.ID]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make(map[storage.ID]int, len(s.tokens))
	for id, t := range s.tokens {
		for c := t.conns; c != nil; c = c.next {
			if c.armed {
				all[id]++
			}
		}
	}
	return all
}

// Drop forgets c without ending its context, and reports whether c was armed and had neither been
// dropped nor cut. If c was the last connection of a token that
// is marked as spent, the token is ended by Config.Exhaust. Drop may be called more than
// once, and before Add.
func (s *Scheduler) Drop(c *Conn) (armed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	c.closed = true
	t := c.of
	if t == nil {
		return false
	}
	s.unlink(c)
	if t.conns != nil {
		return c.armed
	}
	s.forget(t)
	if t.spent {
		s.exhaust(t)
	}
	return c.armed
}
