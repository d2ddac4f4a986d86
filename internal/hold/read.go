package hold

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// lookLater has t read again, since somebody said that it may have changed.
func (r *holdRun) lookLater(t *heldToken) {
	if !t.looking {
		t.looking = true
		r.look = append(r.look, t)
		ring(r.looks)
	}
}

// lookAtAll has all read again, if there are any.
func (s *Scheduler) lookAtAll() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		s.run.lookAtAll()
	}
}

// lookAtAll is that for whoever has the lock.
func (r *holdRun) lookAtAll() {
	for _, t := range r.s.tokens {
		r.lookLater(t)
	}
}

// readOn reads what is to be read again.
func (r *holdRun) readOn() {
	ctx, giveUp := context.WithCancel(r.ctx)
	defer func() { giveUp() }()
	r.giveUp.Store(&giveUp)
	for {
		select {
		case <-r.looks:
		case <-r.ctx.Done():
			return
		}
		for _, t := range r.takeLooks() {
			if ctx.Err() != nil { // given up
				ctx, giveUp = context.WithCancel(r.ctx)
				r.giveUp.Store(&giveUp)
			}
			r.lookAt(ctx, t)
		}
	}
}

// takeLooks returns what is to be read again, and whoever changes from now on is to
// be read once more.
func (r *holdRun) takeLooks() []*heldToken {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	look := r.look
	r.look = nil
	for _, t := range look {
		t.looking = false
	}
	return look
}

// lookAt reads t and what it is tied to, and cuts those it holds if it is over.
func (r *holdRun) lookAt(ctx context.Context, t *heldToken) {
	s := r.s
	for more := true; more && r.ctx.Err() == nil; {
		r.reading.Store(true)
		o := r.see(ctx, t.id)
		r.reading.Store(false)
		more = false
		switch {
		case o.Unreadable:
			s.blind(t, at(r.s.cfg.Now()))
			return
		case o.Cause != nil:
			s.cut(t, o.Cause)
		default:
			var below *Conn
			var spent bool
			more, below, spent = s.renew(t, &o)
			below.endEach()
			if spent {
				go s.cfg.Exhaust(t.id, t.subject) // the store may take its time
			}
		}
		r.read.Add(1)
	}
}

// see is Config.Read that takes a store that panics for one that could not tell.
func (r *holdRun) see(ctx context.Context, id storage.ID) (o State) {
	defer func() {
		if recover() != nil {
			o = State{Unreadable: true}
		}
	}()
	return r.s.cfg.Read(ctx, id)
}

// renew sets what o says of t. It reports whether to look once more, since a token
// decides now of which changes were not heard before, and returns the connections below
// the floor, which are to be ended. spent says that they were the last of a token without
// uses left, which is to be ended as well.
func (s *Scheduler) renew(t *heldToken, o *State) (more bool, below *Conn, spent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.knows(t) {
		return false, nil, false
	}
	t.floor = max(t.floor, o.Floor)
	if below = s.below(t); !s.knows(t) {
		return false, below, t.spent
	}
	more = s.tie(t, o.Ancestors)
	t.due, t.overdue, t.againAt = at(o.ExpiresAt), false, noInstant
	s.file(t)
	s.run.wakeFor(t)
	return more, below, false
}

// blind has t, which could not be read, read again later, or cuts those it holds if it
// is due.
func (s *Scheduler) blind(t *heldToken, now instant) {
	s.mu.Lock()
	if !s.knows(t) {
		s.mu.Unlock()
		return
	}
	if t.overdue || t.due != unknown && t.due <= now {
		cause := s.ranOut(t)
		first := s.detach(t, cause)
		s.mu.Unlock()
		s.endAll(first, cause)
		return
	}
	defer s.mu.Unlock()
	t.againAt = now.plus(s.cfg.Poll)
	if t.due == unknown { // nobody is armed yet
		return
	}
	s.file(t)
	s.run.wakeFor(t)
}

// listen marks what the store tells of. When it tells nothing more it is polled, and
// asked to tell again.
func (r *holdRun) listen() {
	for {
		var err error
		for change, failed := range r.s.cfg.Watch(r.ctx) {
			if err = failed; err != nil {
				break
			}
			r.heard(change)
		}
		if r.ctx.Err() != nil {
			return
		}
		r.turnDeaf()
		if errors.Is(err, storage.ErrClosed) {
			r.cutAll(err)
		}
		if !r.pause(min(r.s.cfg.Poll, WakeEvery)) {
			return
		}
	}
}

// pause waits for d, and reports whether there still are any holds.
func (r *holdRun) pause(d time.Duration) bool {
	select {
	case <-r.s.cfg.After(d):
		return true
	case <-r.ctx.Done():
		return false
	}
}

// heard marks whom a change concerns.
func (r *holdRun) heard(c storage.Change) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != r {
		return
	}
	if c.Gap {
		r.deaf = false
		r.lookAtAll()
		return
	}
	if t := s.tokens[c.ID]; t != nil {
		r.lookLater(t)
	}
	for t := range s.tied[c.ID] {
		r.lookLater(t)
	}
}

func (r *holdRun) turnDeaf() {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	r.deaf = true
	ring(r.wake)
}

func (r *holdRun) cutAll(cause error) {
	s := r.s
	s.mu.Lock()
	var all []*Conn
	if s.run == r {
		for _, t := range s.tokens {
			all = append(all, s.detach(t, cause))
		}
	}
	s.mu.Unlock()
	for _, first := range all {
		s.endAll(first, cause)
	}
}
