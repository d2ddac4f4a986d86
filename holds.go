package lapse

import (
	"container/heap"
	"context"
	"math"
	"slices"
	"sync"
	"time"
)

// holds are the connections that one Manager holds. The zero value holds none.
// Nothing of anybody else's is called while mu is locked.
type holds struct {
	mu     sync.Mutex
	tokens map[ID]*heldToken              // by the ID of the bearer
	tied   map[ID]map[*heldToken]struct{} // by the other IDs that decide
	queue  holdQueue                      // those whose end is known and not reached
	run    *holdRun                       // nil while there are none
}

// hold is one connection. It is registered before it is known to be good, and armed
// once it is: until then it is for Hold to say what became of it.
type hold struct {
	of         *heldToken // nil while it is not registered
	prev, next *hold
	cancel     context.CancelCauseFunc
	stop       func() bool // lets go of the caller's context
	cause      error       // why it was cut before it was armed
	armed      bool
	over       bool
}

// end ends the context of h. Nobody's lock is held, since others may wait for that.
func (h *hold) end(cause error) {
	h.stop()
	h.cancel(cause)
}

// endAll ends the contexts of h and of those behind it, which nobody else knows.
func (h *hold) endAll(cause error) {
	for h != nil {
		next := h.next
		h.next = nil
		h.end(cause)
		h = next
	}
}

// heldToken is a token that connections are held by.
type heldToken struct {
	id       ID
	subject  string // once it is known
	ties     *ties  // nil while it has none
	first    *hold
	due      instant // when it will have run out, as far as is known
	checkAt  instant // when to ask CheckSubject again
	againAt  instant // when to read it again, since it could not be read
	at       instant // the first of these; the key in queue
	place    int32   // in queue, from 1; 0: not there
	looking  bool    // it waits to be read again
	overdue  bool    // it waits for that since it is due
	checking bool    // it waits for CheckSubject
}

// ties are what else decides about a held token.
type ties struct {
	from ID   // the first of it and its successors that does
	also []ID // that one, later ones, and the tokens they were delegated from
}

// instant is in Unix milliseconds: there may be a great many of them.
type instant int64

const (
	unknown   instant = math.MinInt64
	noInstant instant = math.MaxInt64
)

func at(t time.Time) instant { return instant(t.UnixMilli()) }

func (i instant) time() time.Time { return time.UnixMilli(int64(i)).UTC() }

func (i instant) plus(d time.Duration) instant { return i + instant(d.Milliseconds()) }

func (i instant) sub(j instant) time.Duration { return time.Duration(i-j) * time.Millisecond }

// add registers h for the token of id, whose end is not known yet.
func (s *holds) add(m *Manager, h *hold, id ID) {
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
func (s *holds) arm(h *hold, tok *Token, now instant) (over bool, cause error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t, r := h.of, s.run
	if t == nil {
		return true, h.cause
	}
	h.armed = true
	known, due := t.due, at(tok.ExpiresAt)
	t.subject, t.due, t.overdue = tok.Subject, max(known, due), false
	if r.m.recheck > 0 && t.checkAt == noInstant {
		t.checkAt = now.plus(r.m.recheck)
	}
	s.file(t)
	r.wakeFor(t)
	if tok.Successor != (ID{}) || tok.Parent != (ID{}) || known != unknown && known != due {
		r.lookLater(t) // there is more to know, or tok is not the newest
	}
	return false, nil
}

// file puts t where its next instant belongs.
func (s *holds) file(t *heldToken) {
	t.at = min(t.due, t.checkAt, t.againAt)
	if t.place == 0 {
		heap.Push(&s.queue, t)
	} else {
		heap.Fix(&s.queue, int(t.place-1))
	}
}

// setBack shortens what is yet to be waited for, since the clock was set back to now.
func (s *holds) setBack(m *Manager, now instant) {
	for _, t := range s.queue {
		if t.checkAt != noInstant {
			t.checkAt = min(t.checkAt, now.plus(m.recheck))
		}
		if t.againAt != noInstant {
			t.againAt = min(t.againAt, now.plus(m.poll))
		}
		t.at = min(t.due, t.checkAt, t.againAt)
	}
	heap.Init(&s.queue)
}

// drop forgets h.
func (s *holds) drop(h *hold) {
	s.mu.Lock()
	defer s.mu.Unlock()
	h.over = true
	t := h.of
	if t == nil {
		return
	}
	if h.prev != nil {
		h.prev.next = h.next
	} else {
		t.first = h.next
	}
	if h.next != nil {
		h.next.prev = h.prev
	}
	h.of, h.prev, h.next = nil, nil, nil
	if t.first == nil {
		s.forget(t)
	}
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

// tie has t hear of what else decides about it by o, and reports whether any of that
// is new.
func (s *holds) tie(t *heldToken, o *outlook) (more bool) {
	var known []ID
	if t.ties != nil {
		known = t.ties.also
	}
	also := o.also
	if o.from != t.id {
		also = append(also, o.from)
	}
	more = slices.ContainsFunc(also, func(id ID) bool { return !slices.Contains(known, id) })
	s.untie(t)
	if len(also) == 0 {
		return more
	}
	t.ties = &ties{o.from, also}
	for _, id := range also {
		if s.tied[id] == nil {
			s.tied[id] = make(map[*heldToken]struct{})
		}
		s.tied[id][t] = struct{}{}
	}
	return more
}

func (s *holds) untie(t *heldToken) {
	if t.ties == nil {
		return
	}
	for _, id := range t.ties.also {
		delete(s.tied[id], t)
		if len(s.tied[id]) == 0 {
			delete(s.tied, id)
		}
	}
	t.ties = nil
}

// detach forgets t and returns the holds whose contexts are to be ended; those that
// are not armed learn cause when they are to be.
func (s *holds) detach(t *heldToken, cause error) (first *hold) {
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
	first := s.detach(t, cause)
	s.mu.Unlock()
	first.endAll(cause)
}

// holdQueue is a heap of held tokens by what is next.
type holdQueue []*heldToken

func (q holdQueue) Len() int           { return len(q) }
func (q holdQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q holdQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = int32(i+1), int32(j+1)
}

// Push implements heap.Interface.
func (q *holdQueue) Push(x any) {
	t := x.(*heldToken)
	*q = append(*q, t)
	t.place = int32(len(*q))
}

// Pop implements heap.Interface.
func (q *holdQueue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q, t.place = (*q)[:last], 0
	return t
}
