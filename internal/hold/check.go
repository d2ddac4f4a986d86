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
	// checkTimeout is how long a check may take. After that it is abandoned: its context is
	// canceled, and it counts as a check that could not tell.
	checkTimeout = 10 * time.Second

	// maxRunning is how many checks run at a time, without the abandoned ones. maxChecks
	// is how many checks of a Scheduler have not returned, with the abandoned ones.
	maxRunning, maxChecks = 8, 32
)

var (
	errCheckPanicked = errors.New("it panicked or ended its goroutine")
	errCheckSlow     = fmt.Errorf("it has not returned within %v", checkTimeout)
)

// check is one call of Config.Check.
type check struct {
	conn      *Conn
	id        storage.ID // of the token
	subject   string     // of the token
	until     instant    // when the check is abandoned
	cancel    context.CancelFunc
	abandoned bool
}

// checkLater has each connection of t checked, unless that waits for it already. Its caller has
// the lock.
func (r *run) checkLater(t *token) {
	if len(r.toCheck) > 2*r.s.conns { // many connections were forgotten while checks hang
		r.toCheck = slices.DeleteFunc(r.toCheck, func(c *Conn) bool { return c.closed })
	}
	for c := t.conns; c != nil; c = c.next {
		if c.armed && !c.toCheck {
			c.toCheck = true
			r.toCheck = append(r.toCheck, c)
		}
	}
}

// startChecks starts as many checks as may run. Its caller has the lock.
func (r *run) startChecks(now instant) {
	s := r.s
	for len(r.toCheck) > 0 && len(r.checks)-r.abandoned < maxRunning && s.checks < maxChecks {
		conn := r.toCheck[0]
		r.toCheck = r.toCheck[1:]
		if conn.closed {
			continue
		}
		s.checks++
		ctx, cancel := r.checkContext(conn)
		c := &check{conn: conn, id: conn.of.id, subject: conn.of.subject, until: now.plus(checkTimeout), cancel: cancel}
		r.checks[c] = struct{}{}
		go r.runCheck(ctx, c)
	}
}

// checkContext returns a context for a check of c: it has the values of the context of c, and
// ends by cancel or with the run.
func (r *run) checkContext(c *Conn) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(c.ctx))
	stop := context.AfterFunc(r.ctx, cancel)
	return ctx, func() { stop(); cancel() }
}

// abandonChecks abandons the checks that have taken too long, and returns them. Its caller
// has the lock.
func (r *run) abandonChecks(now instant) (slow []*check) {
	for c := range r.checks {
		if !c.abandoned && c.until <= now {
			c.cancel()
			c.abandoned = true
			r.abandoned++
			slow = append(slow, c)
		}
	}
	return slow
}

// runCheck calls Config.Check. Only a refusal cuts the connection. Any other error, a panic
// and runtime.Goexit are told to Config.CheckFailed, unless the check was abandoned or the
// run is over.
func (r *run) runCheck(ctx context.Context, c *check) {
	err := errCheckPanicked
	defer func() {
		_ = recover() // err is errCheckPanicked
		if abandoned := r.checkReturned(c); err != nil && !abandoned && r.ctx.Err() == nil {
			r.s.cfg.CheckFailed(c.id, c.subject, err)
		}
	}()
	var refused error
	if refused, err = r.s.cfg.Check(ctx, c.id, c.subject); refused != nil {
		r.s.cutConn(c.conn, refused)
	}
}

// checkReturned removes c, which has returned, and starts the checks that have waited for
// that. They may be those of a later run. It reports whether c was abandoned.
func (r *run) checkReturned(c *check) (abandoned bool) {
	s, now := r.s, instantOf(r.s.cfg.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	c.cancel()
	s.checks--
	delete(r.checks, c)
	if c.abandoned {
		r.abandoned--
	}
	c.conn.toCheck = false
	if s.run != nil {
		s.run.startChecks(now)
		signal(s.run.wake) // the tick loop waits for the timeout of what was started
	}
	return c.abandoned
}
