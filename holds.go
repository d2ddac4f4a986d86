package lapse

import (
	"container/heap"
	"slices"
	"sync"
)

// holds are the connections that one Manager holds. The zero value holds none.
// Nothing of anybody else's is called while mu is locked.
type holds struct {
	mu     sync.Mutex
	tokens map[ID]*heldToken              // by the ID of the bearer
	tied   map[ID]map[*heldToken]struct{} // by the other IDs that decide
	queue  holdQueue                      // those whose end is known and not reached
	run    *holdRun                       // nil while there are none
	timers []*holdTimer                   // that have not fired; the next run has use for them
	asked  int                            // how many calls of Admit have not returned
}

// end ends the context of h. Nobody's lock is held, since others may wait for that.
func (h *Hold) end(cause error) {
	h.stop()
	h.cancel(cause)
}

// endAll ends the contexts of h and of those behind it, which nobody else knows.
func (h *Hold) endAll(cause error) {
	for h != nil {
		next := h.next
		h.next = nil
		h.end(h.own(cause))
		h = next
	}
}

// own returns cause with the generation of the text that opened h.
func (h *Hold) own(cause error) error {
	r, ok := cause.(*Rejection)
	if !ok || r.Generation == h.generation {
		return cause
	}
	own := *r
	own.Generation = h.generation
	return &own
}

// endEach is endAll with the cause of each.
func (h *Hold) endEach() {
	for h != nil {
		next := h.next
		h.next = nil
		h.end(h.cause)
		h = next
	}
}

// heldToken is a token that connections are held by.
type heldToken struct {
	id       ID
	subject  string // once it is known
	also     []ID   // the tokens that it was delegated from, which decide as well
	first    *Hold
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

// add registers h for the token of id, whose end is not known yet.
func (s *holds) add(m *Manager, h *Hold, id ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.over { // its context has ended meanwhile
		return
	}
	if s.run == nil {
		s.tokens, s.tied = make(map[ID]*heldToken), make(map[ID]map[*heldToken]struct{})
		s.run = startHolds(m)
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

// arm sets the end of the token of h to what tok says, unless h is over already. Then
// it returns why it was cut, if it was.
func (s *holds) arm(h *Hold, tok *Token, now instant) (over bool, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, r := h.of, s.run
	if t == nil {
		return true, h.cause
	}
	t.subject = tok.Subject
	if h.generation < t.floor { // its text was replaced since it was read
		return true, t.replaced(h)
	}
	h.armed = true
	known, due := t.due, at(tok.ExpiresAt)
	t.due, t.overdue = max(known, due), false
	t.spent = t.spent || spentByHold(tok)
	if r.m.recheck > 0 && t.checkAt == noInstant {
		t.checkAt = now.plus(r.m.recheck)
	}
	s.file(t)
	r.wakeFor(t)
	if tok.Parent != (ID{}) || known != unknown && known != due || h.generation != tok.Generation {
		r.lookLater(t) // there is more to know, tok is not the newest, or its text is the previous one
	}
	return false, nil
}

// endLater has the token of id, which has no uses left, ended with the last of its
// connections, and reports whether there are any.
func (s *holds) endLater(id ID, subject string) bool {
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
func (t *heldToken) replaced(h *Hold) error {
	return &Rejection{Err: ErrReplaced, ID: t.id, Subject: t.subject, Generation: h.generation}
}

// holding reports whether a connection is held by the token of id.
func (s *holds) holding(id ID) bool {
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

// drop forgets h. It returns the token to be ended, if h was the last connection of a
// token without uses left, and otherwise nil.
func (s *holds) drop(h *Hold) (spent *heldToken) {
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
func (s *holds) unlink(h *Hold) {
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
func (s *holds) below(t *heldToken) (first *Hold) {
	for h := t.first; h != nil; {
		next := h.next
		if h.armed && h.generation < t.floor {
			s.unlink(h)
			h.over, h.cause = true, t.replaced(h)
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
func (s *holds) knows(t *heldToken) bool { return s.tokens[t.id] == t }

// forget lets go of a token by which nobody is held any more.
func (s *holds) forget(t *heldToken) {
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
func (s *holds) tie(t *heldToken, also []ID) (more bool) {
	more = slices.ContainsFunc(also, func(id ID) bool { return !slices.Contains(t.also, id) })
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

func (s *holds) untie(t *heldToken) {
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
func (s *holds) detach(t *heldToken, cause error) (first *Hold) {
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
func (s *holds) cut(t *heldToken, cause error) {
	s.mu.Lock()
	spent, run := t.spent && s.knows(t), s.run
	first := s.detach(t, cause)
	s.mu.Unlock()
	first.endAll(cause)
	if spent { // in a goroutine of its own: the store may take its time
		go run.m.exhaust(t.id, t.subject)
	}
}
