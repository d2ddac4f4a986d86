package hold

import (
	"context"

	"github.com/seed-55daa01a/lapse/storage"
)

// lookLater has t read again, since somebody said that it may have changed.
func (r *run) readLater(t *token) {
	if !t.toRead {
		t.toRead = true
		r.toRead = append(r.toRead, t)
		signal(r.readSignal)
	}
}

// lookAtAll has all read again, if there are any.
func (s *Scheduler) readAllLater() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		s.run.readAllLater()
	}
}

// lookAtAll is that for whoever has the lock.
func (r *run) readAllLater() {
	for _, t := range r.s.tokens {
		r.readLater(t)
	}
}

// readOn reads what is to be read again.
func (r *run) readLoop() {
	ctx, giveUp := context.WithCancel(r.ctx)
	defer func() { giveUp() }()
	r.cancelRead.Store(&giveUp)
	for {
		select {
		case <-r.readSignal:
		case <-r.ctx.Done():
			return
		}
		for _, t := range r.takeReads() {
			if ctx.Err() != nil { // given up
				ctx, giveUp = context.WithCancel(r.ctx)
				r.cancelRead.Store(&giveUp)
			}
			r.readToken(ctx, t)
		}
	}
}

// takeLooks returns what is to be read again, and whoever changes from now on is to
// be read once more.
func (r *run) takeReads() []*token {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	look := r.toRead
	r.toRead = nil
	for _, t := range look {
		t.toRead = false
	}
	return look
}

// lookAt reads t and what it is tied to, and cuts those it holds if it is over.
func (r *run) readToken(ctx context.Context, t *token) {
	s := r.s
	for more := true; more && r.ctx.Err() == nil; {
		r.reading.Store(true)
		st := r.read(ctx, t.id)
		r.reading.Store(false)
		more = false
		switch {
		case st.Unreadable:
			s.unreadable(t, instantOf(r.s.cfg.Now()))
			return
		case st.Cause != nil:
			s.cut(t, st.Cause)
		default:
			var below *Conn
			var spent bool
			more, below, spent = s.apply(t, &st)
			s.endAll(below)
			if spent {
				go s.cfg.Exhaust(t.id, t.subject) // the store may take its time
			}
		}
		r.reads.Add(1)
	}
}

// see is Config.Read that takes a store that panics for one that could not tell.
func (r *run) read(ctx context.Context, id storage.ID) (st State) {
	defer func() {
		if recover() != nil {
			st = State{Unreadable: true}
		}
	}()
	return r.s.cfg.Read(ctx, id)
}

// renew sets what o says of t. It reports whether to look once more, since a token
// decides now of which changes were not heard before, and returns the connections below
// the floor, which are to be ended. spent says that they were the last of a token without
// uses left, which is to be ended as well.
func (s *Scheduler) apply(t *token, st *State) (more bool, below *Conn, spent bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.has(t) {
		return false, nil, false
	}
	t.floor = max(t.floor, st.Floor)
	if below = s.takeBelowFloor(t); !s.has(t) {
		return false, below, t.spent
	}
	more = s.subscribe(t, st.Ancestors)
	t.expires, t.overdue, t.rereadAt = instantOf(st.ExpiresAt), false, never
	s.reschedule(t)
	s.run.wakeIfNext(t)
	return more, below, false
}

// blind has t, which could not be read, read again later, or cuts those it holds if it
// is due.
func (s *Scheduler) unreadable(t *token, now instant) {
	s.mu.Lock()
	if !s.has(t) {
		s.mu.Unlock()
		return
	}
	if t.overdue || t.expires != unknown && t.expires <= now {
		first := s.detach(t, s.ranOut(t))
		s.mu.Unlock()
		s.endAll(first)
		return
	}
	defer s.mu.Unlock()
	t.rereadAt = now.plus(s.cfg.Poll)
	if t.expires == unknown { // nobody is armed yet
		return
	}
	s.reschedule(t)
	s.run.wakeIfNext(t)
}
