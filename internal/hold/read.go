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

// lookAtAll is that for whoever has the lock.
func (r *run) readAllLater() {
	for _, t := range r.s.tokens {
		r.readLater(t)
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

// readOn reads what is to be read again.
func (r *run) readLoop() {
	ctx, cancel := r.readContext()
	defer func() { cancel() }()
	for {
		select {
		case <-r.readSignal:
		case <-r.ctx.Done():
			return
		}
		for _, t := range r.takeReads() {
			if ctx.Err() != nil {
				ctx, cancel = r.readContext()
			}
			r.readToken(ctx, t)
		}
	}
}

// readContext returns a context for reads. storeSilent cancels it.
func (r *run) readContext() (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(r.ctx)
	r.cancelRead.Store(&cancel)
	return ctx, cancel
}

// takeLooks returns what is to be read again, and whoever changes from now on is to
// be read once more.
func (r *run) takeReads() []*token {
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	tokens := r.toRead
	r.toRead = nil
	for _, t := range tokens {
		t.toRead = false
	}
	return tokens
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
			s.unreadable(t, instantOf(s.cfg.Now()))
			return
		case st.Cause != nil:
			s.cut(t, st.Cause)
		default:
			more = s.apply(t, &st)
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
func (s *Scheduler) apply(t *token, st *State) (more bool) {
	s.mu.Lock()
	if !s.has(t) {
		s.mu.Unlock()
		return false
	}
	t.floor = max(t.floor, st.Floor)
	below, spent := s.takeBelowFloor(t), false
	if s.has(t) {
		more = s.subscribe(t, st.Ancestors)
		t.expires, t.overdue, t.rereadAt = instantOf(st.ExpiresAt), false, never
		s.schedule(t)
	} else {
		spent = t.spent
	}
	s.mu.Unlock()
	s.endAll(below)
	if spent {
		s.exhaust(t)
	}
	return more
}

// blind has t, which could not be read, read again later, or cuts those it holds if it
// is due.
func (s *Scheduler) unreadable(t *token, now instant) {
	var first *Conn
	s.mu.Lock()
	switch {
	case !s.has(t):
	case t.overdue || t.expires != unknown && t.expires <= now:
		first = s.detach(t, s.ranOut(t))
	default:
		t.rereadAt = now.plus(s.cfg.Poll)
		if t.expires != unknown { // otherwise no connection is armed, and Arm will schedule t
			s.schedule(t)
		}
	}
	s.mu.Unlock()
	s.endAll(first)
}
