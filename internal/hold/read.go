package hold

import (
	"context"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// readLater has the read loop read t, unless t waits for that already, and Use read the record. Its
// caller has the lock.
func (r *run) readLater(t *token) {
	t.resetReadAt()
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

// readBatch is how many tokens are read by one call of Config.ReadAll.
const readBatch = 1000

// readLoop reads the tokens that wait for that, batch after batch.
func (r *run) readLoop() {
	for {
		select {
		case <-r.readSignal:
		case <-r.ctx.Done():
			return
		}
		size := 1
		tokens := r.takeReads()
		if len(tokens) > 1 && r.s.cfg.ReadAll != nil {
			size = readBatch
		}
		for batch := range slices.Chunk(tokens, size) {
			r.readBatch(batch)
		}
	}
}

// readBatch reads tokens with one call, and then each that this call could not read by itself: one
// token that makes the call fail, or a call that is slow, keeps no other token from being read.
func (r *run) readBatch(tokens []*token) {
	unread, _ := r.readTokens(tokens)
	if len(tokens) > 1 {
		unread = r.readSingly(unread)
	}
	for _, t := range unread {
		if r.ctx.Err() == nil {
			r.s.unreadable(t, instantOf(r.s.cfg.Now()))
		}
	}
}

// readSingly reads each of tokens by itself, and returns those that could not be read. If the tick
// loop cancels a read, the store is silent, and readSingly reads no more.
func (r *run) readSingly(tokens []*token) (unread []*token) {
	for i := range tokens {
		left, canceled := r.readTokens(tokens[i : i+1])
		unread = append(unread, left...)
		if canceled {
			return append(unread, tokens[i+1:]...)
		}
	}
	return unread
}

// readContext returns a context for one read. storeSilent cancels it.
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

// readTokens reads tokens with one call and acts on their states. It returns those that could not
// be read, and whether the tick loop has canceled the call. The tick loop is told that the store
// answers with every token that could be read.
func (r *run) readTokens(tokens []*token) (unread []*token, canceled bool) {
	ctx, cancel := r.readContext()
	defer cancel()
	r.reading.Store(true)
	states := r.read(ctx, tokens)
	r.reading.Store(false)
	canceled = ctx.Err() != nil
	s := r.s
	for i, t := range tokens {
		switch st := &states[i]; {
		case r.ctx.Err() != nil:
			return nil, true
		case st.Unreadable:
			unread = append(unread, t)
			continue
		case st.Cause != nil:
			s.cut(t, st.Cause)
		default:
			s.apply(t, st)
		}
		r.reads.Add(1)
	}
	return unread, canceled
}

// read is Config.ReadAll, or Config.Read for a single token. After a panic, or an answer of
// another length, all tokens are unreadable.
func (r *run) read(ctx context.Context, tokens []*token) (states []State) {
	defer func() {
		if recover() != nil || len(states) != len(tokens) {
			states = slices.Repeat([]State{{Unreadable: true}}, len(tokens))
		}
	}()
	if len(tokens) == 1 {
		return []State{r.s.cfg.Read(ctx, tokens[0].id)}
	}
	ids := make([]storage.ID, len(tokens))
	for i, t := range tokens {
		ids[i] = t.id
	}
	return r.s.cfg.ReadAll(ctx, ids, func() { r.reads.Add(1) })
}

// apply sets the fields of t from st, which says that t is live, and cuts the connections
// below the floor. If st shows an ancestor for the first time, t is read again: changes of
// the ancestor were not heard before.
func (s *Scheduler) apply(t *token, st *State) {
	now := instantOf(s.cfg.Now())
	s.mu.Lock()
	if !s.has(t) {
		s.mu.Unlock()
		return
	}
	t.floor = max(t.floor, st.Floor)
	below, spent := s.takeBelowFloor(t), false
	if s.has(t) {
		t.expires, t.overdue, t.rereadAt = instantOf(st.ExpiresAt), false, never
		s.giveNotices(t, st.Generation, now)
		s.schedule(t)
		if t.unheard = s.subscribe(t, st.Ancestors); t.unheard {
			s.run.readLater(t)
		}
	} else {
		spent = t.spent
	}
	s.mu.Unlock()
	s.endAll(below)
	if spent {
		s.exhaust(t)
	}
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
		s.giveNotices(t, 0, now)
		if t.expires != unknown { // otherwise no connection is armed, and Arm will schedule t
			s.schedule(t)
		}
	}
	s.mu.Unlock()
	s.endAll(first)
}
