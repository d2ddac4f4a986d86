package hold

import (
	"container/heap"
	"context"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// WakeEvery is how often the clock is read again although nothing is due: it may have
	// been set, and the machine may have slept.
	WakeEvery = 15 * time.Second

	// strikeEvery is how often it is noted that the store has not answered, and
	// strikes how often in a row that is until it counts as silent. One note says
	// little: this process may have been asleep.
	strikeEvery = 100 * time.Millisecond
	strikes     = 10
)

// holdRun is what serves the holds of m while there are any: one goroutine waits, one
// reads, one listens to the store, and while Admit is to be asked some ask.
// What is not atomic is under the lock of m.holds, but for what the waiting one notes.
type holdRun struct {
	s     *Scheduler
	ctx   context.Context // ends with the last hold
	epoch uint32          // that the tokens held were seen alive in; for the waiting one
	stop  context.CancelFunc
	wake  chan struct{} // the next instant is another one
	looks chan struct{} // there is something to be read again

	look    []*heldToken // what is to be read again
	overdue []*heldToken // and among it what is due
	check   []*heldToken // of which Admit is to be asked again
	asks    map[*asking]struct{}
	lost    int     // how many of asks have been given up
	deaf    bool    // the store tells nothing, so that it must be polled
	pollAt  instant // when, if so
	now     instant // when what was due was last looked for

	reading atomic.Bool   // the store is being asked
	read    atomic.Uint64 // how often it has answered
	giveUp  atomic.Pointer[context.CancelFunc]

	noted    uint64 // read, when last looked at
	struck   int    // how often in a row it was no more
	strikeAt instant
}

// startHolds starts serving the holds of m, whose lock its caller has.
func startHolds(s *Scheduler) *holdRun {
	ctx, stop := context.WithCancel(context.Background())
	r := &holdRun{s: s, epoch: s.cfg.Marks.Epoch(), ctx: ctx, stop: stop, wake: make(chan struct{}, 1), looks: make(chan struct{}, 1)}
	r.deaf, r.pollAt, r.now, r.asks = true, noInstant, unknown, make(map[*asking]struct{})
	if s.cfg.Watch != nil {
		go r.listen()
	}
	go r.readOn()
	go r.wait()
	return r
}

// wait does what is due at each instant that comes.
func (r *holdRun) wait() {
	defer r.s.cfg.Marks.OnRestart(func() { ring(r.wake) })()
	beat, stop := heartbeat(r.s.cfg.Elapses)
	defer stop()
	for r.ctx.Err() == nil {
		if r.s.cfg.FollowClock(); r.s.cfg.Marks.Epoch() != r.epoch { // and time may have gone back
			r.epoch = r.s.cfg.Marks.Epoch()
			r.s.lookAtAll()
		}
		timer, due := r.s.timer(r.tick(at(r.s.cfg.Now())))
		if due {
			continue
		}
		var fires <-chan time.Time
		if timer != nil {
			fires = timer.fires
		}
		select {
		case <-fires:
			r.s.fired(timer, r)
		case <-beat:
		case <-r.wake:
		case <-r.ctx.Done():
		}
	}
}

// tick does what is due at now, and returns when there will be more.
func (r *holdRun) tick(now instant) (next instant) {
	s := r.s
	silent := r.silent(now)
	s.mu.Lock()
	if s.run != r {
		s.mu.Unlock()
		return noInstant
	}
	if now < r.now {
		s.setBack(now)
		r.pollAt = min(r.pollAt, now.plus(r.s.cfg.Poll))
	}
	r.now = now
	r.due(now)
	r.poll(now)
	late := r.late(silent)
	given := r.giveUpChecks(now)
	r.startChecks(now)
	next = r.next(now)
	s.mu.Unlock()
	for _, a := range given {
		s.cfg.CheckFailed(a.id, a.subject, errHookSlow)
	}
	for _, e := range late {
		s.endAll(e.first, e.cause)
	}
	return next
}

// due looks for the tokens whose time for something has come.
func (r *holdRun) due(now instant) {
	s := r.s
	for len(s.queue) > 0 && s.queue[0].at <= now {
		t := s.queue[0]
		if t.checkAt <= now {
			t.checkAt = now.plus(r.s.cfg.Recheck)
			r.checkLater(t)
		}
		if t.againAt <= now {
			t.againAt = noInstant
			r.lookLater(t)
		}
		if t.due > now {
			s.file(t)
			continue
		}
		heap.Remove(&s.queue, 0)
		t.overdue = true
		r.overdue = append(r.overdue, t)
		r.lookLater(t)
	}
}

// poll looks at all where nothing is told.
func (r *holdRun) poll(now instant) {
	if r.pollAt == noInstant {
		r.pollAt = now.plus(r.s.cfg.Poll)
	}
	if r.deaf && r.pollAt <= now {
		r.pollAt = now.plus(r.s.cfg.Poll)
		r.lookAtAll()
	}
}

// ending is a cause, and those whose contexts it is to end.
type ending struct {
	first *Conn
	cause error
}

// late returns whom to cut since a token is due, and the store, which may know of a
// renewal, silent.
func (r *holdRun) late(silent bool) (late []ending) {
	s := r.s
	r.overdue = slices.DeleteFunc(r.overdue, func(t *heldToken) bool { return !t.overdue || !s.knows(t) })
	if !silent {
		return nil
	}
	for _, t := range r.overdue {
		cause := s.ranOut(t)
		late = append(late, ending{s.detach(t, cause), cause})
	}
	r.overdue = nil
	return late
}

// ranOut is the cause for those whose token could not be read when it was due.
func (s *Scheduler) ranOut(t *heldToken) error {
	return s.cfg.RanOut(t.id, t.subject, t.due.time())
}

// silent notes at now whether the store has answered, and reports whether it has not
// for too long. It gives up what is being asked then.
func (r *holdRun) silent(now instant) bool {
	read := r.read.Load()
	switch soon := now.plus(strikeEvery); {
	case !r.reading.Load() || read != r.noted:
		r.noted, r.struck, r.strikeAt = read, 0, soon
	case now >= r.strikeAt || r.strikeAt > soon:
		r.struck++
		r.strikeAt = soon
		if r.struck%strikes == 0 {
			(*r.giveUp.Load())()
		}
	}
	return r.struck >= strikes
}

// next returns when there will be more to do.
func (r *holdRun) next(now instant) instant {
	s, next := r.s, noInstant
	if s.cfg.Elapses {
		next = now.plus(WakeEvery)
	}
	if len(s.queue) > 0 {
		next = min(next, s.queue[0].at)
	}
	if r.deaf {
		next = min(next, r.pollAt)
	}
	for a := range r.asks {
		if !a.lost {
			next = min(next, a.until)
		}
	}
	if len(r.overdue) > 0 || r.reading.Load() {
		next = min(next, now.plus(strikeEvery))
	}
	return next
}

// wakeFor wakes the one who waits if t is next.
func (r *holdRun) wakeFor(t *heldToken) {
	if r.s.queue[0] == t {
		ring(r.wake)
	}
}

// ring sends without waiting: whoever listens asks for everything that there is.
func ring(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
