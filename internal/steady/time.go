// Package steady keeps the time that decisions see: a Time goes on as fast as time
// elapses while its clock is set back or is ahead, and begins a new epoch when the clock
// proves to have been wrong. The package also has the clock of the machine, and the
// instants that lapse knows. Its callers configure it; it calls none of them.
package steady

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Clock says what time it is. It may go backwards.
type Clock interface{ Now() time.Time }

// Elapser is a Clock that knows how much time has passed.
type Elapser interface{ Elapsed() time.Duration }

// Cached is an Elapser that can nearly always be asked for less.
type Cached interface {
	Elapser

	// WallMilli returns what Now says, in Unix milliseconds.
	WallMilli() int64

	// ReadCached returns what WallMilli would, or would have a moment ago but not before
	// it was last called, and what Elapsed does by what that has found out before.
	ReadCached() (wall int64, elapsed time.Duration)
}

// Time is the time that decisions see. It is shared, by its marks, with all who use the
// same store. It is safe for concurrent use.
//
// Let wall be what the clock says. Time is the latest of wall, what anybody has seen
// before, and a line that rises as fast as time elapses. So a clock that is set back, or
// was ahead and is right again, changes nothing for now; time goes on as fast as it
// passes. If wall stays behind by more than the tolerance for longer than the settle
// time, it was time that was wrong: see judge.
type Time struct {
	clock   Clock
	elapses Elapser // clock, or nil if it does not know what has elapsed
	cached  Cached  // clock, or nil
	marks   *storage.Marks
	limits  Limits
	epochs  bool // the marks are kept, so that a new epoch is one for everybody

	baseline atomic.Pointer[baseline]
	settled  atomic.Bool // wall has been behind for longer than the settle time

	mu          sync.Mutex
	offset      int64         // time less what had elapsed, when sweeping was last put off, or at the beginning
	behind      bool          // wall is, by more than the tolerance
	behindSince time.Duration // what had elapsed when that began
}

// line is the least that time is, in one epoch. It is not changed once it is in use.
type baseline struct {
	epoch uint32
	base  int64         // in milliseconds
	since time.Duration // what had elapsed then
	until time.Duration // what will have when it is time for a closer look
}

// at is where l is, once so much has elapsed.
func (l *baseline) at(elapsed time.Duration) int64 {
	return min(l.base+max(0, elapsed-l.since).Milliseconds(), LastInstant)
}

// Limits say when a Time takes its clock for wrong.
type Limits struct {
	Tolerance time.Duration // how far the clock may be behind
	Settle    time.Duration // for how long, until it was time that was wrong
	MaxJump   time.Duration // from which on what is ahead of what elapsed is not to be swept by
}

// LookEvery is how much may pass, and how far time may leave its line, in
// milliseconds, before there is a closer look.
const LookEvery = 100

// Quiet is how long nothing is swept after the clock has proved to be wrong.
const Quiet = 24 * time.Hour

// longAgo is for how long a store may have been closed before it is rather the clock
// that is wrong, as far as sweeping goes.
const longAgo = 30 * 24 * time.Hour

// Plausible reports whether an instant is in the years 2001 to 2199. A machine that has
// lost the time begins in 1970, 1980 or 2000; who knows the time is past that.
func Plausible(milli int64) bool { return 978307200_000 <= milli && milli < 7258118400_000 }

// follow returns the later of wall and t, but t if that is plausible and wall is not.
func laterPlausible(wall, t int64) int64 {
	if Plausible(t) && !Plausible(wall) {
		return t
	}
	return max(wall, t)
}

// New returns the Time of clock and marks. With epochs the marks are kept by a store, and
// Restart may begin a new epoch.
func New(clock Clock, marks *storage.Marks, epochs bool, limits Limits) *Time {
	e := &Time{clock: clock, marks: marks, epochs: epochs, limits: limits}
	e.elapses, _ = clock.(Elapser)
	e.cached, _ = clock.(Cached)
	mark, wall := marks.Mark(), e.wall()
	if !mark.At.IsZero() && Plausible(wall) && wall-mark.At.UnixMilli() > longAgo.Milliseconds() {
		marks.Hush(Add(time.UnixMilli(wall), Quiet))
	}
	mark.At = time.UnixMilli(laterPlausible(wall, mark.At.UnixMilli()))
	e.beginEpoch(mark)
	if !mark.Behind.IsZero() && e.isBehind(wall, mark.At.UnixMilli()) {
		e.Look() // what was before counts, too
	}
	return e
}

// Overdue reports, of what the clock says when a Manager is made, whether it is past the
// settle time since mark.Behind. A clock that is behind by less than the tolerance of
// this Manager, and by more than that of another one here, is for the other one to judge.
func (e *Time) Overdue(wall int64, mark storage.Mark) bool {
	if mark.Behind.IsZero() || e.elapses == nil || !Plausible(wall) || wall-mark.Behind.UnixMilli() <= e.limits.Settle.Milliseconds() {
		return false
	}
	if t := mark.At.UnixMilli(); !e.isBehind(wall, t) {
		e.noteLag(wall, t)
		return !e.marks.Lagging()
	}
	return true
}

func (e *Time) wall() int64 {
	if e.cached != nil {
		return e.cached.WallMilli()
	}
	return Milli(e.clock.Now())
}

// begin draws the line anew, from mark on.
func (e *Time) beginEpoch(mark storage.Mark) {
	l := &baseline{epoch: mark.Epoch, base: mark.At.UnixMilli()}
	if e.elapses != nil {
		l.since = e.elapses.Elapsed()
	}
	e.offset, e.behind = l.base-l.since.Milliseconds(), false
	e.settled.Store(false)
	e.baseline.Store(l)
}

// Epochs reports whether time can begin a new epoch, as New was told.
func (e *Time) Epochs() bool { return e.epochs }

// Settled reports whether the clock has been behind for longer than the settle time, by
// the last closer look.
func (e *Time) Settled() bool { return e.settled.Load() }

// Now returns the time in UTC, in whole milliseconds. It never goes back within an epoch.
func (e *Time) Now() time.Time {
	l := e.baseline.Load() // before the clock: what that said in an earlier epoch is not to be followed
	wall, elapsed := e.readClock()
	t, ok := e.fastTime(l, wall, elapsed)
	if !ok {
		t = e.Look()
	}
	return time.UnixMilli(t).UTC()
}

// read returns what the clock says and, if it is a glancer, what has elapsed.
func (e *Time) readClock() (wall int64, elapsed time.Duration) {
	if e.cached != nil {
		return e.cached.ReadCached()
	}
	return e.wall(), 0
}

// glance returns the time where no closer look is called for, as is nearly always so.
// It reads At before Epoch: l is of the epoch that this At is of.
func (e *Time) fastTime(l *baseline, wall int64, elapsed time.Duration) (t int64, ok bool) {
	seen := e.marks.At()
	if e.marks.Epoch() != l.epoch {
		return 0, false
	}
	t = max(wall, seen)
	switch {
	case e.cached != nil:
		lowest := l.at(elapsed)
		if elapsed >= l.until || t-lowest >= LookEvery {
			return 0, false
		}
		t = max(t, lowest)
	case e.elapses != nil:
		return 0, false
	}
	return t, t == seen || e.marks.Follow(seen, t)
}

// Look returns the time in Unix milliseconds, by all that is known.
func (e *Time) Look() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, _ := e.look()
	return t
}

// see is Look for whoever holds e.mu. It also returns what the clock says.
func (e *Time) look() (t, wall int64) {
	mark := e.marks.Mark()
	if mark.Epoch != e.baseline.Load().epoch { // somebody else has found the clock right
		e.beginEpoch(mark)
	}
	t, wall = mark.At.UnixMilli(), e.wall() // after the epoch, as in Now
	if e.elapses == nil {
		t = max(wall, t)
	} else {
		t = e.advance(t, wall, mark.Quiet)
	}
	return max(t, e.marks.Raise(t, mark.Epoch)), wall
}

// advance returns the time by the baseline, seen and wall, moves the baseline there, and judges
// the clock. The caller has locked e.mu.
func (e *Time) advance(seen, wall int64, quiet time.Time) (t int64) {
	l, elapsed := *e.baseline.Load(), e.elapses.Elapsed()
	lowest := l.at(elapsed)
	t = laterPlausible(wall, max(seen, lowest))
	e.delaySweep(t, lowest, elapsed, quiet)
	if t > lowest {
		l.base, l.since = t, elapsed
	}
	l.until = elapsed + LookEvery*time.Millisecond
	e.baseline.Store(&l)
	e.judgeClock(wall, t, elapsed)
	return t
}

// hush puts sweeping off, before anybody sees t, if what has elapsed does not explain t.
// A quiet time that has begun gets longer by what t leaves out of it.
func (e *Time) delaySweep(t, lowest int64, elapsed time.Duration, until time.Time) {
	offset := t - elapsed.Milliseconds()
	if offset-e.offset > e.limits.MaxJump.Milliseconds() {
		e.offset = offset
		e.marks.Hush(Add(time.UnixMilli(t), Quiet))
	}
	if jump := t - lowest; jump > e.limits.Tolerance.Milliseconds() && lowest < until.UnixMilli() {
		e.marks.Hush(Normalise(time.UnixMilli(until.UnixMilli() + jump)))
	}
}

// late reports whether wall is behind t by more than the tolerance.
func (e *Time) isBehind(wall, t int64) bool { return t-wall > e.limits.Tolerance.Milliseconds() }

// lag notes in the marks how far wall is behind t, and returns the Behind that was noted
// before.
func (e *Time) noteLag(wall, t int64) (noted time.Time) {
	by := time.Duration(max(0, min(t-wall, maxLag))) * time.Millisecond
	return e.marks.Lag(time.UnixMilli(wall).UTC(), by, e.limits.Tolerance)
}

// maxLag is the most that a Duration can say, in milliseconds.
const maxLag = math.MaxInt64 / int64(time.Millisecond)

// judge notes since when wall has been behind t. If another Manager has noted that
// before, this one counts from there; and if nothing is noted any more, some other clock
// keeps up, and it is too early to say who is right. A clock that is not plausible is not
// judged by.
func (e *Time) judgeClock(wall, t int64, elapsed time.Duration) {
	late := e.isBehind(wall, t)
	if late && !Plausible(wall) {
		e.settled.Store(false)
		return
	}
	noted := e.noteLag(wall, t)
	switch {
	case late && noted.IsZero():
		e.behindSince = elapsed
	case late && !e.behind:
		since := max(0, min(wall-noted.UnixMilli(), e.limits.Settle.Milliseconds()+1, maxLag/2))
		e.behindSince = elapsed - time.Duration(since)*time.Millisecond
	}
	e.behind = late
	e.settled.Store(late && elapsed-e.behindSince > e.limits.Settle)
}

// Restart has time follow the clock from now on, in a new epoch, if it has been behind
// for long enough, or if it is behind and accept says that it is right. It reports the
// instant, and whether it was this call that did it.
func (e *Time) Restart(accept bool) (at time.Time, done bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, wall := e.look()
	at = time.UnixMilli(wall).UTC()
	if e.epochs && (e.settled.Load() || accept && e.isBehind(wall, t)) {
		done = e.marks.Restart(at, Add(at, Quiet), e.baseline.Load().epoch)
		e.beginEpoch(e.marks.Mark())
	}
	return at, done
}
