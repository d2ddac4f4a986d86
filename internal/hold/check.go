package hold

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

const (
	// askWithin is how long Admit may take over a connection that is held, until it
	// counts as unable to tell.
	askWithin = 10 * time.Second

	// askers is how many such calls run at a time, and askersMost how many there are of a
	// Manager at most with those that have taken too long and have not returned.
	askers, askersMost = 8, 32
)

var (
	errHookPanicked = errors.New("it panicked or ended its goroutine")
	errHookSlow     = fmt.Errorf("it has not returned within %v", askWithin)
)

// asking is one call of Admit about a token that is held.
type asking struct {
	t       *heldToken
	id      storage.ID
	subject string  // that of t is under the lock
	until   instant // when it is given up
	giveUp  context.CancelFunc
	lost    bool // it has been given up
}

// checkLater has Admit asked about t again.
func (r *holdRun) checkLater(t *heldToken) {
	if t.checking {
		return
	}
	if s := r.s; len(r.check) > 2*len(s.tokens) { // while calls hang
		r.check = slices.DeleteFunc(r.check, func(t *heldToken) bool { return !s.knows(t) })
	}
	t.checking = true
	r.check = append(r.check, t)
}

// startChecks asks about as many as may be asked about at a time. Its caller has the
// lock.
func (r *holdRun) startChecks(now instant) {
	s := r.s
	for len(r.check) > 0 && len(r.asks)-r.lost < askers && s.asked < askersMost {
		t := r.check[0]
		r.check = r.check[1:]
		if !s.knows(t) {
			continue
		}
		s.asked++
		ctx, giveUp := context.WithCancel(r.ctx)
		a := &asking{t: t, id: t.id, subject: t.subject, until: now.plus(askWithin), giveUp: giveUp}
		r.asks[a] = struct{}{}
		go r.ask(ctx, a)
	}
}

// giveUpChecks gives up the calls of Admit that have taken too long, and returns
// those. Its caller has the lock.
func (r *holdRun) giveUpChecks(now instant) (slow []*asking) {
	for a := range r.asks {
		if !a.lost && a.until <= now {
			a.giveUp()
			a.lost = true
			r.lost++
			slow = append(slow, a)
		}
	}
	return slow
}

// ask asks Admit about a.t. A refusal cuts its connections, and nothing else that Admit
// says or does.
func (r *holdRun) ask(ctx context.Context, a *asking) {
	err := errHookPanicked
	defer func() {
		_ = recover() // err says so
		if lost := r.asked(a); err != nil && !lost && r.ctx.Err() == nil {
			r.s.cfg.CheckFailed(a.id, a.subject, err)
		}
	}()
	var refused error
	if refused, err = r.s.cfg.Check(ctx, a.id, a.subject); refused != nil {
		r.s.cut(a.t, refused)
	}
}

// asked notes that a has returned, and reports whether it had been given up.
func (r *holdRun) asked(a *asking) (lost bool) {
	s, now := r.s, at(r.s.cfg.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	a.giveUp()
	s.asked--
	delete(r.asks, a)
	if a.lost {
		r.lost--
	}
	a.t.checking = false
	if s.run != nil { // another run may have waited for that
		s.run.startChecks(now)
		ring(s.run.wake) // for what was started may have to be given up
	}
	return a.lost
}
