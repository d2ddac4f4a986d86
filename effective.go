package lapse

import (
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// effective is the time that decisions see, behind Manager.now. It is shared, by its
// marks, with all who use the same store.
//
// Let wall be what the clock says. Time is the latest of wall, what anybody has seen
// before, and a line that rises as fast as time elapses. So a clock that is set back, or
// was ahead and is right again, changes nothing for now; time goes on as fast as it
// passes. If wall stays behind by more than the tolerance for longer than the settle
// time, it was time that was wrong: see judge.
type effective struct {
	clock   Clock
	elapses elapser // clock, or nil if it does not know what has elapsed
	glances glancer // clock, or nil
	marks   *storage.Marks
	numbers guardNumbers
	epochs  bool // the marks are kept, so that a new epoch is one for everybody

	line    atomic.Pointer[line]
	settled atomic.Bool   // wall has been behind for longer than the settle time
	ended   atomic.Uint32 // the epoch for which the tokens of earlier ones have been ended in their records

	mu     sync.Mutex
	level  int64         // time less what had elapsed, when sweeping was last put off, or at the beginning
	behind bool          // wall is, by more than the tolerance
	from   time.Duration // what had elapsed when that began
}

// line is the least that time is, in one epoch. It is not changed once it is in use.
type line struct {
	epoch uint32
	base  int64         // in milliseconds
	since time.Duration // what had elapsed then
	until time.Duration // what will have when it is time for a closer look
}

// at is where l is, once so much has elapsed.
func (l *line) at(elapsed time.Duration) int64 {
	return min(l.base+max(0, elapsed-l.since).Milliseconds(), lastInstant)
}

type guardNumbers struct {
	tolerance, settle time.Duration
	leap              time.Duration // from which on what is ahead of what elapsed is not to be swept by
}

// lookEvery is how much may pass, and how far time may leave its line, in
// milliseconds, before there is a closer look.
const lookEvery = 100

// quiet is how long nothing is swept after the clock has proved to be wrong.
const quiet = 24 * time.Hour

// longAgo is for how long a store may have been closed before it is rather the clock
// that is wrong, as far as sweeping goes.
const longAgo = 30 * 24 * time.Hour

// plausible reports whether an instant is in the years 2001 to 2199. A machine that has
// lost the time begins in 1970, 1980 or 2000; who knows the time is past that.
func plausible(milli int64) bool { return 978307200_000 <= milli && milli < 7258118400_000 }

// follow returns the later of wall and t, but t if that is plausible and wall is not.
func follow(wall, t int64) int64 {
	if plausible(t) && !plausible(wall) {
		return t
	}
	return max(wall, t)
}

func newEffective(clock Clock, marks *storage.Marks, epochs bool, numbers guardNumbers) *effective {
	e := &effective{clock: clock, marks: marks, epochs: epochs, numbers: numbers}
	e.elapses, _ = clock.(elapser)
	e.glances, _ = clock.(glancer)
	mark, wall := marks.Mark(), e.wall()
	if !mark.At.IsZero() && plausible(wall) && wall-mark.At.UnixMilli() > longAgo.Milliseconds() {
		marks.Hush(add(time.UnixMilli(wall), quiet))
	}
	mark.At = time.UnixMilli(follow(wall, mark.At.UnixMilli()))
	e.begin(mark)
	if !mark.Behind.IsZero() && e.late(wall, mark.At.UnixMilli()) {
		e.look() // what was before counts, too
	}
	return e
}

// overdue reports, of what the clock says when a Manager is made, whether it is past the
// settle time since mark.Behind. A clock that is behind by less than the tolerance of
// this Manager, and by more than that of another one here, is for the other one to judge.
func (e *effective) overdue(wall int64, mark storage.Mark) bool {
	if mark.Behind.IsZero() || e.elapses == nil || !plausible(wall) || wall-mark.Behind.UnixMilli() <= e.numbers.settle.Milliseconds() {
		return false
	}
	if t := mark.At.UnixMilli(); !e.late(wall, t) {
		e.lag(wall, t)
		return !e.marks.Lagging()
	}
	return true
}

func (e *effective) wall() int64 {
	if e.glances != nil {
		return e.glances.ask()
	}
	return milli(e.clock.Now())
}

// begin draws the line anew, from mark on.
func (e *effective) begin(mark storage.Mark) {
	l := &line{epoch: mark.Epoch, base: mark.At.UnixMilli()}
	if e.elapses != nil {
		l.since = e.elapses.Elapsed()
	}
	e.level, e.behind = l.base-l.since.Milliseconds(), false
	e.settled.Store(false)
	e.line.Store(l)
}

func (e *effective) now() time.Time {
	l := e.line.Load() // before the clock: what that said in an earlier epoch is not to be followed
	wall, elapsed := e.read()
	t, ok := e.glance(l, wall, elapsed)
	if !ok {
		t = e.look()
	}
	return time.UnixMilli(t).UTC()
}

// read returns what the clock says and, if it is a glancer, what has elapsed.
func (e *effective) read() (wall int64, elapsed time.Duration) {
	if e.glances != nil {
		return e.glances.glance()
	}
	return e.wall(), 0
}

// glance returns the time where no closer look is called for, as is nearly always so.
// It reads At before Epoch: l is of the epoch that this At is of.
func (e *effective) glance(l *line, wall int64, elapsed time.Duration) (t int64, ok bool) {
	seen := e.marks.At()
	if e.marks.Epoch() != l.epoch {
		return 0, false
	}
	t = max(wall, seen)
	switch {
	case e.glances != nil:
		line := l.at(elapsed)
		if elapsed >= l.until || t-line >= lookEvery {
			return 0, false
		}
		t = max(t, line)
	case e.elapses != nil:
		return 0, false
	}
	return t, t == seen || e.marks.Follow(seen, t)
}

// look returns the time, by all that is known.
func (e *effective) look() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, _ := e.see()
	return t
}

// see is look for whoever holds e.mu. It also returns what the clock says.
func (e *effective) see() (t, wall int64) {
	mark := e.marks.Mark()
	if mark.Epoch != e.line.Load().epoch { // somebody else has found the clock right
		e.begin(mark)
	}
	l := *e.line.Load()
	t, wall = mark.At.UnixMilli(), e.wall() // after the epoch, as in now
	if e.elapses != nil {
		elapsed := e.elapses.Elapsed()
		line := l.at(elapsed)
		t = follow(wall, max(t, line))
		e.hush(t, line, elapsed, mark.Quiet)
		if t > line {
			l.base, l.since = t, elapsed
		}
		l.until = elapsed + lookEvery*time.Millisecond
		e.line.Store(&l)
		e.judge(wall, t, elapsed)
	} else {
		t = max(wall, t)
	}
	return max(t, e.marks.Raise(t, mark.Epoch)), wall
}

// hush puts sweeping off, before anybody sees t, if what has elapsed does not explain t.
// A quiet time that has begun gets longer by what t leaves out of it.
func (e *effective) hush(t, line int64, elapsed time.Duration, until time.Time) {
	level := t - elapsed.Milliseconds()
	if level-e.level > e.numbers.leap.Milliseconds() {
		e.level = level
		e.marks.Hush(add(time.UnixMilli(t), quiet))
	}
	if leap := t - line; leap > e.numbers.tolerance.Milliseconds() && line < until.UnixMilli() {
		e.marks.Hush(normalise(time.UnixMilli(until.UnixMilli() + leap)))
	}
}

// late reports whether wall is behind t by more than the tolerance.
func (e *effective) late(wall, t int64) bool { return t-wall > e.numbers.tolerance.Milliseconds() }

// lag notes in the marks how far wall is behind t, and returns the Behind that was noted
// before.
func (e *effective) lag(wall, t int64) (noted time.Time) {
	by := time.Duration(max(0, min(t-wall, maxLag))) * time.Millisecond
	return e.marks.Lag(time.UnixMilli(wall).UTC(), by, e.numbers.tolerance)
}

// maxLag is the most that a Duration can say, in milliseconds.
const maxLag = math.MaxInt64 / int64(time.Millisecond)

// judge notes since when wall has been behind t. If another Manager has noted that
// before, this one counts from there; and if nothing is noted any more, some other clock
// keeps up, and it is too early to say who is right. A clock that is not plausible is not
// judged by.
func (e *effective) judge(wall, t int64, elapsed time.Duration) {
	late := e.late(wall, t)
	if late && !plausible(wall) {
		e.settled.Store(false)
		return
	}
	noted := e.lag(wall, t)
	switch {
	case late && noted.IsZero():
		e.from = elapsed
	case late && !e.behind:
		since := max(0, min(wall-noted.UnixMilli(), e.numbers.settle.Milliseconds()+1, maxLag/2))
		e.from = elapsed - time.Duration(since)*time.Millisecond
	}
	e.behind = late
	e.settled.Store(late && elapsed-e.from > e.numbers.settle)
}

// restart has time follow the clock from now on, in a new epoch, if it has been behind
// for long enough, or if it is behind and accept says that it is right. It reports the
// instant, and whether it was this call that did it.
func (e *effective) restart(accept bool) (at time.Time, done bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, wall := e.see()
	at = time.UnixMilli(wall).UTC()
	if e.epochs && (e.settled.Load() || accept && e.late(wall, t)) {
		done = e.marks.Restart(at, add(at, quiet), e.line.Load().epoch)
		e.begin(e.marks.Mark())
	}
	return at, done
}
