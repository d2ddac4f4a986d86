package lapse

import (
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// listen marks what the store tells of. When it tells nothing more it is polled, and
// asked to tell again.
func (r *holdRun) listen(watcher storage.Watcher) {
	for {
		var err error
		for change, failed := range watcher.Watch(r.ctx) {
			if err = failed; err != nil {
				break
			}
			r.heard(change)
		}
		if r.ctx.Err() != nil {
			return
		}
		r.turnDeaf()
		if errors.Is(err, ErrClosed) {
			r.cutAll(storeError("hold", err))
		}
		if !r.pause(min(r.m.poll, wakeEvery)) {
			return
		}
	}
}

// pause waits for d, and reports whether there still are any holds.
func (r *holdRun) pause(d time.Duration) bool {
	select {
	case <-r.m.clock.After(d):
		return true
	case <-r.ctx.Done():
		return false
	}
}

// heard marks whom a change concerns.
func (r *holdRun) heard(c storage.Change) {
	s := &r.m.holds
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
	s := &r.m.holds
	s.mu.Lock()
	defer s.mu.Unlock()
	r.deaf = true
	ring(r.wake)
}

func (r *holdRun) cutAll(cause error) {
	s := &r.m.holds
	s.mu.Lock()
	var all []*Hold
	if s.run == r {
		for _, t := range s.tokens {
			all = append(all, s.detach(t, cause))
		}
	}
	s.mu.Unlock()
	for _, first := range all {
		first.endAll(cause)
	}
}
