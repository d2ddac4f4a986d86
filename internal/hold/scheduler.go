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
	cfg    Config
	mu     sync.Mutex
	tokens map[storage.ID]*heldToken              // by the ID of the bearer
	tied   map[storage.ID]map[*heldToken]struct{} // by the other IDs that decide
	queue  holdQueue                              // those whose end is known and not reached
	run    *holdRun                               // nil while there are none
	timers []*holdTimer                           // that have not fired; the next run has use for them
	asked  int                                    // how many calls of Admit have not returned
}

// New returns a Scheduler without connections.
func New(cfg Config) *Scheduler { return &Scheduler{cfg: cfg} }

// heldToken is a token that connections are held by.
type heldToken struct {
	id       storage.ID
	subject  string       // once it is known
	also     []storage.ID // the tokens that it was delegated from, which decide as well
	first    *Conn
	floor    uint32  // the least generation by which a connection may be held, as far as is known
	due      instant // when it will have run out, as far as is known
	checkAt  instant // when to ask Admit again
	againAt  instant // when to read it again, since it could not be read
	at       instant // the first of these; the key in queue
	place    int32   // in queue, from 1; 0: not there
	looking  bool    // it waits to be read again
	overdue  bool    // it waits for that since it is due
	checking bool    // it waits for Admit
	spent    bool    // its last use was spent by a hold, so it is to be ended with the last one
}

// Add registers h for the token of id, whose end is not known yet.
func (s *Scheduler) Add(h *Conn, id storage.ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.over { // its context has ended meanwhile
		return
	}
	if s.run == nil {
		s.tokens, s.tied = make(map[storage.ID]*heldToken), make(map[storage.ID]map[*heldToken]struct{})
		s.run = startHolds(s)
	}
	t := s.tokens[id]
	if t == nil {
		t = &heldToken{id: id, due: unknown, checkAt: noInstant, againAt: noInstant}
		s.tokens[id] = t
	}
	h.of, h.next = t, t.first
	if t.first != nil {
		t.first.prev = h
	}
	t.first = h
}

// Arm sets the end of the token of h to what tok says, unless h is over already. Then
// it returns why it was cut, if it was. A secret of generation opened h. spent says that
// the last use of tok was spent by that, so that tok is to be ended with the last one.
func (s *Scheduler) Arm(h *Conn, tok *storage.Token, generation uint32, spent bool) (over bool, cause error) {
	now := at(s.cfg.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	t, r := h.of, s.run
	if t == nil {
		return true, h.cause
	}
	t.subject, h.generation = tok.Subject, generation
	if h.generation < t.floor { // its text was replaced since it was read
		return true, s.replaced(t, h)
	}
	h.armed = true
	known, due := t.due, at(tok.ExpiresAt)
	t.due, t.overdue = max(known, due), false
	t.spent = t.spent || spent
	if s.cfg.Recheck > 0 && t.checkAt == noInstant {
		t.checkAt = now.plus(s.cfg.Recheck)
	}
	s.file(t)
	r.wakeFor(t)
	if tok.Parent != (storage.ID{}) || known != unknown && known != due || h.generation != tok.Generation {
		r.lookLater(t) // there is more to know, tok is not the newest, or its text is the previous one
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
func (s *Scheduler) replaced(t *heldToken, h *Conn) error {
	return s.cfg.Replaced(t.id, t.subject, h.generation)
}

// Holding reports whether a connection is held by the token of id.
func (s *Scheduler) Holding(id storage.ID) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := s.tokens[id]
	if t == nil {
		return false
	}
	for h := t.first; h != nil; h = h.next {
		if h.armed {
			return true
		}
	}
	return false
}

// Drop forgets h, and has its token ended if that has no uses left and h was its last
// connection.
func (s *Scheduler) Drop(h *Conn) {
	if t := s.drop(h); t != nil {
		go s.cfg.Exhaust(t.id, t.subject) // the store may take its time
	}
}

// drop forgets h. It returns the token to be ended, if h was the last connection of a
// token without uses left, and otherwise nil.
func (s *Scheduler) drop(h *Conn) (spent *heldToken) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.over = true
	t := h.of
	if t == nil {
		return nil
	}
	s.unlink(h)
	if t.first != nil {
		return nil
	}
	s.forget(t)
	if t.spent {
		spent = t
	}
	return spent
}

// unlink takes h from the connections of its token.
func (s *Scheduler) unlink(h *Conn) {
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		h.of.first = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.of, h.prev, h.next = nil, nil, nil
}

// below takes out the armed connections of t that were opened by a secret below its
// floor, and forgets t if none is left.
func (s *Scheduler) below(t *heldToken) (first *Conn) {
	for h := t.first; h != nil; {
		next := h.next
		if h.armed && h.generation < t.floor {
			s.unlink(h)
			h.over, h.cause = true, s.replaced(t, h)
			h.next, first = first, h
		}
		h = next
	}
	if t.first == nil {
		s.forget(t)
	}
	return first
}

// knows reports whether anybody is held by t.
func (s *Scheduler) knows(t *heldToken) bool { return s.tokens[t.id] == t }

// forget lets go of a token by which nobody is held any more.
func (s *Scheduler) forget(t *heldToken) {
	delete(s.tokens, t.id)
	s.untie(t)
	if t.place > 0 {
		heap.Remove(&s.queue, int(t.place-1))
	}
	if len(s.tokens) == 0 {
		s.run.stop()
		s.tokens, s.tied, s.queue, s.run = nil, nil, nil, nil
	}
}

// tie has t hear of those that it was delegated from, and reports whether any of them is
// new.
func (s *Scheduler) tie(t *heldToken, also []storage.ID) (more bool) {
	more = slices.ContainsFunc(also, func(id storage.ID) bool { return !slices.Contains(t.also, id) })
	s.untie(t)
	t.also = also
	for _, id := range also {
		if s.tied[id] == nil {
			s.tied[id] = make(map[*heldToken]struct{})
		}
		s.tied[id][t] = struct{}{}
	}
	return more
}

func (s *Scheduler) untie(t *heldToken) {
	for _, id := range t.also {
		delete(s.tied[id], t)
		if len(s.tied[id]) == 0 {
			delete(s.tied, id)
		}
	}
	t.also = nil
}

// detach forgets t and returns the holds whose contexts are to be ended; those that
// are not armed learn cause when they are to be.
func (s *Scheduler) detach(t *heldToken, cause error) (first *Conn) {
	if !s.knows(t) {
		return nil
	}
	for h := t.first; h != nil; {
		next := h.next
		h.of, h.prev, h.next, h.over = nil, nil, nil, true
		if h.armed {
			h.next, first = first, h
		} else {
			h.cause = cause
		}
		h = next
	}
	t.first = nil
	s.forget(t)
	return first
}

// cut ends all connections that t holds.
func (s *Scheduler) cut(t *heldToken, cause error) {
	s.mu.Lock()
	spent := t.spent && s.knows(t)
	first := s.detach(t, cause)
	s.mu.Unlock()
	s.endAll(first, cause)
	if spent { // in a goroutine of its own: the store may take its time
		go s.cfg.Exhaust(t.id, t.subject)
	}
}
