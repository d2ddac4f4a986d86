package hold

import (
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// watchLoop has each token read again of which the store tells a change. When a watch
// fails, the tick loop polls until the next watch works. If the store is closed,
// watchLoop cuts every connection.
func (r *run) watchLoop() {
	for {
		var err error
		for change, failed := range r.s.cfg.Watch(r.ctx) {
			if err = failed; err != nil {
				break
			}
			r.changed(change)
		}
		if r.ctx.Err() != nil {
			return
		}
		r.watchFailed()
		if errors.Is(err, storage.ErrClosed) {
			r.cutAll(err)
		}
		if !r.waitFor(min(r.s.cfg.Poll, WakeEvery)) {
			return
		}
	}
}

// waitFor returns true after d, or false as soon as the run ends.
func (r *run) waitFor(d time.Duration) bool {
	select {
	case <-r.s.cfg.After(d):
		return true
	case <-r.ctx.Done():
		return false
	}
}

// changed has the tokens read again that change concerns: the token itself and its
// delegates. The first change of a watch is a gap, which says that the watch works and
// concerns every token.
func (r *run) changed(change storage.Change) {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.run != r {
		return
	}
	if change.Gap {
		r.watchDown = false
		r.readAllLater()
		return
	}
	if t := s.tokens[change.ID]; t != nil {
		r.readLater(t)
	}
	for t := range s.delegates[change.ID] {
		r.readLater(t)
	}
}

// edited is changed for an Edit in this process. When Edit returns, every Use that the Edit concerns
// reads the record, also one of a delegate whose ancestors are not known yet.
func (r *run) edited(id storage.ID) {
	r.changed(storage.Change{ID: id})
	r.s.mu.Lock()
	defer r.s.mu.Unlock()
	for _, t := range r.s.tokens {
		if t.unheard {
			t.resetReadAt()
		}
	}
}

// watchFailed has the tick loop poll.
func (r *run) watchFailed() {
	s := r.s
	s.mu.Lock()
	defer s.mu.Unlock()
	r.watchDown = true
	signal(r.wake)
}

// cutAll ends every connection with cause.
func (r *run) cutAll(cause error) {
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
		s.endAll(first)
	}
}
