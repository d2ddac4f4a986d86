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
	checkTimeout = 10 * time.Second

	// askers is how many such calls run at a time, and askersMost how many there are of a
	// Manager at most with those that have taken too long and have not returned.
	maxRunning, maxChecks = 8, 32
)

var (
	errCheckPanicked = errors.New("it panicked or ended its goroutine")
	errCheckSlow     = fmt.Errorf("it has not returned within %v", checkTimeout)
)

// asking is one call of Admit about a token that is held.
type check struct {
	t         *token
	id        storage.ID
	subject   string  // that of t is under the lock
	until     instant // when it is given up
	giveUp    context.CancelFunc
	abandoned bool // it has been given up
}

// checkLater has Admit asked about t again.
func (r *run) checkLater(t *token) {
	if t.toCheck {
		return
	}
	if s := r.s; len(r.toCheck) > 2*len(s.tokens) { // while calls hang
		r.toCheck = slices.DeleteFunc(r.toCheck, func(t *token) bool { return !s.has(t) })
	}
	t.toCheck = true
	r.toCheck = append(r.toCheck, t)
}

// startChecks asks about as many as may be asked about at a time. Its caller has the
// lock.
func (r *run) startChecks(now instant) {
	s := r.s
	for len(r.toCheck) > 0 && len(r.checks)-r.abandoned < maxRunning && s.checks < maxChecks {
		t := r.toCheck[0]
		r.toCheck = r.toCheck[1:]
		if !s.has(t) {
			continue
		}
		s.checks++
		ctx, giveUp := context.WithCancel(r.ctx)
		a := &check{t: t, id: t.id, subject: t.subject, until: now.plus(checkTimeout), giveUp: giveUp}
		r.checks[a] = struct{}{}
		go r.runCheck(ctx, a)
	}
}

// giveUpChecks gives up the calls of Admit that have taken too long, and returns
// those. Its caller has the lock.
func (r *run) abandonChecks(now instant) (slow []*check) {
	for a := range r.checks {
		if !a.abandoned && a.until <= now {
			a.giveUp()
			a.abandoned = true
			r.abandoned++
			slow = append(slow, a)
		}
	}
	return slow
}

// ask asks Admit about a.t. A refusal cuts its connections, and nothing else that Admit
// says or does.
func (r *run) runCheck(ctx context.Context, a *check) {
	err := errCheckPanicked
	defer func() {
		_ = recover() // err says so
		if abandoned := r.checkReturned(a); err != nil && !abandoned && r.ctx.Err() == nil {
			r.s.cfg.CheckFailed(a.id, a.subject, err)
		}
	}()
	var refused error
	if refused, err = r.s.cfg.Check(ctx, a.id, a.subject); refused != nil {
		r.s.cut(a.t, refused)
	}
}

// asked notes that a has returned, and reports whether it had been given up.
func (r *run) checkReturned(a *check) (abandoned bool) {
	s, now := r.s, instantOf(r.s.cfg.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	a.giveUp()
	s.checks--
	delete(r.checks, a)
	if a.abandoned {
		r.abandoned--
	}
	a.t.toCheck = false
	if s.run != nil { // another run may have waited for that
		s.run.startChecks(now)
		signal(s.run.wake) // for what was started may have to be given up
	}
	return a.abandoned
}
