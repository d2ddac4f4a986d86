package hold

import (
	"container/heap"
	"context"
	"slices"
	"sync/atomic"
	"time"
)

const (
	// WakeEvery is how often the tick loop reads the clock although nothing is due. The
	// clock may have been set, or the machine may have been suspended.
	WakeEvery = 15 * time.Second

	// missEvery is how often the tick loop looks whether the store has answered the read
	// that runs. A look that finds no answer is a miss. After maxMisses misses in a row
	// the store is silent. A single miss says little, since this process may have been
	// suspended.
	missEvery = 100 * time.Millisecond
	maxMisses = 10
)

// run is the life of a Scheduler from its first token to its last one. It has a tick loop,
// which does what is due, a read loop, a watch loop, and a goroutine for each check.
//
// Its fields are under the lock of the Scheduler, except the channels, the atomics, and
// the fields that only the tick loop uses.
type run struct {
	s    *Scheduler
	ctx  context.Context // ends with the run
	stop context.CancelFunc

	wake       chan struct{} // wakes the tick loop
	readSignal chan struct{} // wakes the read loop

	toRead    []*token            // the tokens that the read loop reads next
	overdue   []*token            // the tokens that expired and have not been read since
	toCheck   []*Conn             // the connections that Admit is asked about next
	checks    map[*check]struct{} // the checks that run
	abandoned int                 // how many of the checks have taken too long
	watchDown bool                // no watch works, so the tick loop polls
	pollAt    instant             // when it polls next, or would
	lastTick  instant

	reading    atomic.Bool   // a read of the store runs
	reads      atomic.Uint64 // how many reads were answered
	cancelRead atomic.Pointer[context.CancelFunc]

	// For the tick loop alone:
	epoch     uint32  // the tokens were read, or will be, in this epoch of the clock
	readsSeen uint64  // reads at the last look
	misses    int     // how many looks in a row were misses
	missAt    instant // when the next look is
}

// startRun starts a run of s. Its caller has the lock.
func startRun(s *Scheduler) *run {
	ctx, stop := context.WithCancel(context.Background())
	r := &run{
		s:          s,
		ctx:        ctx,
		stop:       stop,
		wake:       make(chan struct{}, 1),
		readSignal: make(chan struct{}, 1),
		checks:     make(map[*check]struct{}),
		watchDown:  true,
		pollAt:     never,
		lastTick:   unknown,
		epoch:      s.cfg.Marks.Epoch(),
	}
	stopEdits := s.cfg.Marks.OnEdit(r.edited)
	r.stop = func() { stopEdits(); stop() }
	if s.cfg.Watch != nil {
		go r.watchLoop()
	}
	go r.readLoop()
	go r.tickLoop()
	return r
}

// tickLoop ticks whenever something is due, the clock may have been set, or another
// goroutine has scheduled something earlier. If a new epoch has begun, it has all tokens
// read again.
func (r *run) tickLoop() {
	s := r.s
	defer s.cfg.Marks.OnRestart(func() { signal(r.wake) })()
	beat, stop := heartbeat(s.cfg.Elapses)
	defer stop()
	for r.ctx.Err() == nil {
		s.cfg.FollowClock()
		if epoch := s.cfg.Marks.Epoch(); epoch != r.epoch {
			r.epoch = epoch
			s.readAllLater()
		}
		timer, due := s.timerFor(r.tick(instantOf(s.cfg.Now())))
		if due {
			continue
		}
		var fires <-chan time.Time
		if timer != nil {
			fires = timer.fires
		}
		select {
		case <-fires:
			s.timerFired(timer, r)
		case <-beat:
		case <-r.wake:
		case <-r.ctx.Done():
		}
	}
}

// tick does what is due at now. It returns when the next tick is needed.
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
		r.pollAt = min(r.pollAt, now.plus(s.cfg.Poll))
	}
	r.lastTick = now
	r.takeDue(now)
	r.pollIfDown(now)
	cut := r.takeOverdue(silent)
	slow := r.abandonChecks(now)
	r.startChecks(now)
	next = r.nextTick(now)
	s.mu.Unlock()
	for _, c := range slow {
		s.cfg.CheckFailed(c.id, c.subject, errCheckSlow)
	}
	for _, first := range cut {
		s.endAll(first)
	}
	return next
}

// takeDue tells the other loops to check or read every token in the queue that is due. A token
// that expired leaves the queue until it has been read: the store may know of a renewal. Any other
// token is due again a millisecond later at the earliest, so that takeDue, which has the lock,
// always ends.
func (r *run) takeDue(now instant) {
	s := r.s
	for len(s.queue) > 0 && s.queue[0].next <= now {
		t := s.queue[0]
		if t.checkAt <= now {
			t.checkAt = now.plus(s.cfg.Recheck)
			r.checkLater(t)
		}
		if t.rereadAt <= now {
			t.rereadAt = never
			r.readLater(t)
		}
		r.warnIfDue(t, now)
		if t.expires > now {
			t.next = max(s.dueAt(t), now+1)
			heap.Fix(&s.queue, 0)
			continue
		}
		heap.Remove(&s.queue, 0)
		t.overdue = true
		r.overdue = append(r.overdue, t)
		r.readLater(t)
	}
}

// pollIfDown has all tokens read every Config.Poll while no watch works.
func (r *run) pollIfDown(now instant) {
	if r.pollAt == never {
		r.pollAt = now.plus(r.s.cfg.Poll)
	}
	if r.watchDown && r.pollAt <= now {
		r.pollAt = now.plus(r.s.cfg.Poll)
		r.readAllLater()
	}
}

// takeOverdue detaches the tokens that are overdue if the store is silent, and returns
// their connections as lists for endAll.
func (r *run) takeOverdue(silent bool) (cut []*Conn) {
	s := r.s
	r.overdue = slices.DeleteFunc(r.overdue, func(t *token) bool { return !t.overdue || !s.has(t) })
	if !silent {
		return nil
	}
	for _, t := range r.overdue {
		cut = append(cut, s.detach(t, s.ranOut(t)))
	}
	r.overdue = nil
	return cut
}

// storeSilent counts the misses, and reports whether the store is silent. After each
// maxMisses misses it cancels the read that runs.
func (r *run) storeSilent(now instant) bool {
	reads := r.reads.Load()
	switch soon := now.plus(missEvery); {
	case !r.reading.Load() || reads != r.readsSeen:
		r.readsSeen, r.misses, r.missAt = reads, 0, soon
	case now >= r.missAt || r.missAt > soon: // in the second case the clock was set back
		r.misses++
		r.missAt = soon
		if r.misses%maxMisses == 0 {
			(*r.cancelRead.Load())()
		}
	}
	return r.misses >= maxMisses
}

// nextTick returns when the next tick after now is needed.
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
	for c := range r.checks {
		if !c.abandoned {
			next = min(next, c.until)
		}
	}
	if len(r.overdue) > 0 || r.reading.Load() {
		next = min(next, now.plus(missEvery))
	}
	return next
}

// signal wakes the goroutine that receives from c, which has room for one signal. A signal
// that waits already is enough: its receiver looks for all that there is to do.
func signal(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}
