package hold

import (
	"context"

	"github.com/seed-55daa01a/lapse/storage"
)

// readLater has the read loop read t, unless t waits for that already. Its caller has the
// lock.
func (r *run) readLater(t *token) {
	if !t.toRead {
		t.toRead = true
		r.toRead = append(r.toRead, t)
		signal(r.readSignal)
	}
}

// readAllLater has the read loop read all tokens. Its caller has the lock.
func (r *run) readAllLater() {
	for _, t := range r.s.tokens {
		r.readLater(t)
	}
}

// readAllLater is that of the run, with the lock.
func (s *Scheduler) readAllLater() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != nil {
		s.run.readAllLater()
	}
}

// readLoop reads one token after the other. If the tick loop has canceled a read, the next
// read gets a new context.
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

// takeReads returns the tokens to read. A token that changes from then on is to be read
// once more.
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

// readToken reads t and acts on its state. If the read shows an ancestor for the first
// time, readToken reads t again: changes of the ancestor were not heard before.
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

// read is Config.Read. A panic means that the token is unreadable.
func (r *run) read(ctx context.Context, id storage.ID) (st State) {
	defer func() {
		if recover() != nil {
			st = State{Unreadable: true}
		}
	}()
	return r.s.cfg.Read(ctx, id)
}

// apply sets the fields of t from st, which says that t is live, and cuts the connections
// below the floor. It returns true if t is to be read again.
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

// unreadable acts on a read of t that failed at now. If t has expired as far as is known,
// its connections are cut. Otherwise t is read again after Config.Poll.
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
