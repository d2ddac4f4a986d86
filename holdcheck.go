package lapse

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
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
	t      *heldToken
	tok    Token   // its ID and subject: those of t are under the lock
	until  instant // when it is given up
	giveUp context.CancelFunc
	lost   bool // it has been given up
}

// checkLater has Admit asked about t again.
func (r *holdRun) checkLater(t *heldToken) {
	if t.checking {
		return
	}
	if s := &r.m.holds; len(r.check) > 2*len(s.tokens) { // while calls hang
		r.check = slices.DeleteFunc(r.check, func(t *heldToken) bool { return !s.knows(t) })
	}
	t.checking = true
	r.check = append(r.check, t)
}

// startChecks asks about as many as may be asked about at a time. Its caller has the
// lock.
func (r *holdRun) startChecks(now instant) {
	s := &r.m.holds
	for len(r.check) > 0 && len(r.asks)-r.lost < askers && s.asked < askersMost {
		t := r.check[0]
		r.check = r.check[1:]
		if !s.knows(t) {
			continue
		}
		s.asked++
		ctx, giveUp := context.WithCancel(r.ctx)
		a := &asking{t: t, tok: Token{ID: t.id, Subject: t.subject}, until: now.plus(askWithin), giveUp: giveUp}
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
			r.tellFailed(a, err)
		}
	}()
	if err = r.admitAgain(ctx, a.t); errors.Is(err, ErrRefused) {
		r.m.holds.cut(a.t, &Rejection{Err: fromOutside(err, ErrUnauthenticated, ErrRefused), ID: a.tok.ID, Subject: a.tok.Subject})
		err = nil
	}
}

// asked notes that a has returned, and reports whether it had been given up.
func (r *holdRun) asked(a *asking) (lost bool) {
	s, now := &r.m.holds, at(r.m.now())
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

// admitAgain returns what Admit says of t as it is stored now. Of a token that is dead
// Admit is not asked: its connections are cut for that.
func (r *holdRun) admitAgain(ctx context.Context, t *heldToken) error {
	m := r.m
	rec, err := m.record(ctx, t.id)
	if errors.Is(err, errGone) {
		return nil
	}
	if err != nil {
		return storeError("hold", err)
	}
	m.showClockEnd(&rec)
	m.viewText(&rec, currentText)
	tok := rec.Token
	if _, err := m.clampStored(ctx, "hold", &tok); err != nil || !alive(&tok, m.now()) {
		return err
	}
	return m.admission(ctx, tok)
}

// tellFailed tells Observe that Admit could not tell about the token of a.
func (r *holdRun) tellFailed(a *asking, err error) {
	r.m.tellApart(Event{Kind: EventHookFailed, At: r.m.now(), Token: a.tok,
		Err: fmt.Errorf("lapse: hold: Admit could not tell: %w", fromOutside(err, ErrUnavailable))})
}
