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
	missEvery = 100 * time.Millisecond
	maxMisses = 10
)

// holdRun is what serves the holds of m while there are any: one goroutine waits, one
// reads, one listens to the store, and while Admit is to be asked some ask.
// What is not atomic is under the lock of m.holds, but for what the waiting one notes.
type run struct {
	s          *Scheduler
	ctx        context.Context // ends with the last hold
	epoch      uint32          // that the tokens held were seen alive in; for the waiting one
	stop       context.CancelFunc
	wake       chan struct{} // the next instant is another one
	readSignal chan struct{} // there is something to be read again

	toRead    []*token // what is to be read again
	overdue   []*token // and among it what is due
	toCheck   []*token // of which Admit is to be asked again
	checks    map[*check]struct{}
	abandoned int     // how many of asks have been given up
	watchDown bool    // the store tells nothing, so that it must be polled
	pollAt    instant // when, if so
	lastTick  instant // when what was due was last looked for

	reading    atomic.Bool   // the store is being asked
	reads      atomic.Uint64 // how often it has answered
	cancelRead atomic.Pointer[context.CancelFunc]

	readsSeen uint64 // read, when last looked at
	misses    int    // how often in a row it was no more
	missAt    instant
}

// startHolds starts serving the holds of m, whose lock its caller has.
func startRun(s *Scheduler) *run {
	ctx, stop := context.WithCancel(context.Background())
	r := &run{s: s, epoch: s.cfg.Marks.Epoch(), ctx: ctx, stop: stop, wake: make(chan struct{}, 1), readSignal: make(chan struct{}, 1)}
	r.watchDown, r.pollAt, r.lastTick, r.checks = true, never, unknown, make(map[*check]struct{})
	if s.cfg.Watch != nil {
		go r.watchLoop()
	}
	go r.readLoop()
	go r.tickLoop()
	return r
}

// wait does what is due at each instant that comes.
func (r *run) tickLoop() {
	defer r.s.cfg.Marks.OnRestart(func() { signal(r.wake) })()
	beat, stop := heartbeat(r.s.cfg.Elapses)
	defer stop()
	for r.ctx.Err() == nil {
		if r.s.cfg.FollowClock(); r.s.cfg.Marks.Epoch() != r.epoch { // and time may have gone back
			r.epoch = r.s.cfg.Marks.Epoch()
			r.s.readAllLater()
		}
		timer, due := r.s.timerFor(r.tick(instantOf(r.s.cfg.Now())))
		if due {
			continue
		}
		var fires <-chan time.Time
		if timer != nil {
			fires = timer.fires
		}
		select {
		case <-fires:
			r.s.timerFired(timer, r)
		case <-beat:
		case <-r.wake:
		case <-r.ctx.Done():
		}
	}
}

// tick does what is due at now, and returns when there will be more.
func (r *run) tick(now instant) (next instant) {
	s := r.s
	silent := r.storeSilent(now)
	s.mu.Lock()
	if s.run != r {
		s.mu.Unlock()
		return never
	}
	if now < r.lastTick {
		s.clockSetBack(now)
		r.pollAt = min(r.pollAt, now.plus(r.s.cfg.Poll))
	}
	r.lastTick = now
	r.takeDue(now)
	r.pollIfDown(now)
	late := r.takeOverdue(silent)
	slow := r.abandonChecks(now)
	r.startChecks(now)
	next = r.nextTick(now)
	s.mu.Unlock()
	for _, a := range slow {
		s.cfg.CheckFailed(a.id, a.subject, errCheckSlow)
	}
	for _, first := range late {
		s.endAll(first)
	}
	return next
}

// due looks for the tokens whose time for something has come.
func (r *run) takeDue(now instant) {
	s := r.s
	for len(s.queue) > 0 && s.queue[0].next <= now {
		t := s.queue[0]
		if t.checkAt <= now {
			t.checkAt = now.plus(r.s.cfg.Recheck)
			r.checkLater(t)
		}
		if t.rereadAt <= now {
			t.rereadAt = never
			r.readLater(t)
		}
		if t.expires > now {
			s.reschedule(t)
			continue
		}
		heap.Remove(&s.queue, 0)
		t.overdue = true
		r.overdue = append(r.overdue, t)
		r.readLater(t)
	}
}

// poll looks at all where nothing is told.
func (r *run) pollIfDown(now instant) {
	if r.pollAt == never {
		r.pollAt = now.plus(r.s.cfg.Poll)
	}
	if r.watchDown && r.pollAt <= now {
		r.pollAt = now.plus(r.s.cfg.Poll)
		r.readAllLater()
	}
}

// late returns whom to cut since a token is due, and the store, which may know of a
// renewal, silent.
func (r *run) takeOverdue(silent bool) (late []*Conn) {
	s := r.s
	r.overdue = slices.DeleteFunc(r.overdue, func(t *token) bool { return !t.overdue || !s.has(t) })
	if !silent {
		return nil
	}
	for _, t := range r.overdue {
		late = append(late, s.detach(t, s.ranOut(t)))
	}
	r.overdue = nil
	return late
}

// silent notes at now whether the store has answered, and reports whether it has not
// for too long. It gives up what is being asked then.
func (r *run) storeSilent(now instant) bool {
	reads := r.reads.Load()
	switch soon := now.plus(missEvery); {
	case !r.reading.Load() || reads != r.readsSeen:
		r.readsSeen, r.misses, r.missAt = reads, 0, soon
	case now >= r.missAt || r.missAt > soon:
		r.misses++
		r.missAt = soon
		if r.misses%maxMisses == 0 {
			(*r.cancelRead.Load())()
		}
	}
	return r.misses >= maxMisses
}

// next returns when there will be more to do.
func (r *run) nextTick(now instant) instant {
	s, next := r.s, never
	if s.cfg.Elapses {
		next = now.plus(WakeEvery)
	}
	if len(s.queue) > 0 {
		next = min(next, s.queue[0].next)
	}
	if r.watchDown {
		next = min(next, r.pollAt)
	}
	for a := range r.checks {
		if !a.abandoned {
			next = min(next, a.until)
		}
	}
	if len(r.overdue) > 0 || r.reading.Load() {
		next = min(next, now.plus(missEvery))
	}
	return next
}

// wakeFor wakes the one who waits if t is next.
func (r *run) wakeIfNext(t *token) {
	if r.s.queue[0] == t {
		signal(r.wake)
	}
}

// ring sends without waiting: whoever listens asks for everything that there is.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
