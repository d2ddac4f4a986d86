// Package steady keeps the time that decisions see. A Time goes on as fast as time elapses,
// also while its clock is set back, and begins a new epoch when the clock proves to have been
// wrong. The package also has the clock of the machine, and the instants that lapse knows.
//
// Read it in this order: Time and baseline say what is kept. Now is the fast way to the time,
// Look the slow one. advance, judgeClock and Restart decide about the clock.
package steady

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Clock tells the time. It may go backwards.
type Clock interface{ Now() time.Time }

// Elapser is a Clock that knows how much time has passed.
type Elapser interface{ Elapsed() time.Duration }

// Cached is an Elapser that remembers its last reading of the clock, since to read the clock
// costs more than to read the time elapsed.
type Cached interface {
	Elapser

	// WallMilli reads the clock and returns it in Unix milliseconds.
	WallMilli() int64

	// ReadCached returns the clock by a reading that is a moment old at most, and not older
	// than the last call of WallMilli. It also returns the time elapsed, with the suspensions
	// that the last call of Elapsed found.
	ReadCached() (wall int64, elapsed time.Duration)
}

// Time is the time that decisions see. All Managers of a store share it through the marks of
// the store. It is safe for concurrent use.
//
// Let wall be the reading of the clock. The time is the latest of wall, the latest time that
// any Manager has seen, and a baseline that rises as fast as time elapses. So nothing changes
// when the clock is set back, or was ahead and is right again: the time goes on as fast as it
// elapses. If wall stays behind the time by more than the tolerance for longer than the settle
// time, the time was wrong: see judgeClock. Where the store is a storage.Timekeeper, wall and the
// baseline do not decide alone: see witness.
type Time struct {
	clock   Clock
	elapses Elapser // clock, or nil if it does not know how much time has elapsed
	cached  Cached  // clock, or nil
	marks   *storage.Marks
	limits  Limits
	epochs  bool // the store keeps the marks, so that all Managers see a new epoch

	baseline atomic.Pointer[baseline]
	settled  atomic.Bool // the clock has been behind for longer than the settle time
	witness  witness

	mu          sync.Mutex
	offset      int64         // time less time elapsed, when sweeping was last delayed, or when the epoch began
	behind      bool          // the clock is behind by more than the tolerance
	behindSince time.Duration // the time elapsed when that began
}

// baseline is the lowest time in one epoch, or the line of a witness. It is immutable once it is stored.
type baseline struct {
	epoch  uint32
	base   int64         // an instant, in Unix milliseconds
	since  time.Duration // the time elapsed at base
	until  time.Duration // the time elapsed at which Now calls Look again
	median bool          // base comes from the median: the clock does not move the time before the next Look
}

// at returns the lowest time, in Unix milliseconds, once elapsed has elapsed.
func (l *baseline) at(elapsed time.Duration) int64 {
	return min(l.base+max(0, elapsed-l.since).Milliseconds(), LastInstant)
}

// Limits say when a Time takes its clock for wrong, and when it delays sweeping.
type Limits struct {
	Tolerance time.Duration // how far the clock may be behind the time
	Settle    time.Duration // how long it may be further behind before the time counts as wrong
	MaxJump   time.Duration // how far the time may get ahead of the time elapsed before sweeping is delayed
}

// LookEvery is how much time may elapse before Now calls Look, and how far the time may be
// above the baseline, in milliseconds.
const LookEvery = 100

// Quiet is how long nothing is swept after the clock has jumped or proved to be wrong.
const Quiet = 24 * time.Hour

// longAgo is how long a store may have been closed. If it seems longer, the clock may be wrong,
// and sweeping is delayed.
const longAgo = 30 * 24 * time.Hour

// Plausible reports whether an instant is in the years 2001 to 2199. A machine that has lost
// the time begins in 1970, 1980 or 2000.
func Plausible(milli int64) bool { return 978307200_000 <= milli && milli < 7258118400_000 }

// laterPlausible returns the later of wall and t. If only t is plausible, it returns t.
func laterPlausible(wall, t int64) int64 {
	if Plausible(t) && !Plausible(wall) {
		return t
	}
	return max(wall, t)
}

// New returns a Time over clock and marks. epochs says that a store keeps the marks, so that
// Restart may begin a new epoch. keeper is the second clock, or nil. With a clock that is no Elapser
// the keeper is not asked.
func New(clock Clock, marks *storage.Marks, epochs bool, limits Limits, keeper storage.Timekeeper) *Time {
	e := &Time{clock: clock, marks: marks, epochs: epochs, limits: limits}
	if e.elapses, _ = clock.(Elapser); e.elapses != nil {
		e.witness.keeper = keeper
	}
	e.cached, _ = clock.(Cached)
	mark, wall := marks.Mark(), e.wall()
	if !mark.At.IsZero() && Plausible(wall) && wall-mark.At.UnixMilli() > longAgo.Milliseconds() {
		marks.Hush(Add(time.UnixMilli(wall), Quiet))
	}
	mark.At = time.UnixMilli(e.begin(wall, mark.At))
	e.beginEpoch(mark)
	if !mark.Behind.IsZero() && e.isBehind(wall, mark.At.UnixMilli()) {
		e.Look() // the lag before New counts as well
	}
	return e
}

// begin returns the time at which the baseline begins, in Unix milliseconds. seen is the latest time
// that a Manager of this process has seen. Where the engine has answered, seen is the line of the
// first median.
func (e *Time) begin(wall int64, seen time.Time) int64 {
	if !seen.IsZero() && e.witness.keeper != nil {
		_, _, e.witness.answered = e.witness.keeper.Time()
	}
	if t, ok := e.median(wall, seen.UnixMilli()); ok {
		return t
	}
	return laterPlausible(wall, seen.UnixMilli())
}

// Overdue reports whether wall, the clock when a Manager is made, is later than mark.Behind by
// more than the settle time. If the clock is behind by less than the tolerance of this
// Manager, and by more than that of another one here, the other one decides, and Overdue
// returns false.
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

// wall reads the clock, in Unix milliseconds.
func (e *Time) wall() int64 {
	if e.cached != nil {
		return e.cached.WallMilli()
	}
	return Milli(e.clock.Now())
}

// beginEpoch starts the baseline at mark, in the epoch of mark.
func (e *Time) beginEpoch(mark storage.Mark) {
	l := &baseline{epoch: mark.Epoch, base: mark.At.UnixMilli()}
	if e.elapses != nil {
		l.since = e.elapses.Elapsed()
	}
	e.offset, e.behind = l.base-l.since.Milliseconds(), false
	e.settled.Store(false)
	e.baseline.Store(l)
}

// Epochs reports whether Restart can begin a new epoch.
func (e *Time) Epochs() bool { return e.epochs }

// Settled reports whether the last Look found that the clock has been behind for longer than
// the settle time.
func (e *Time) Settled() bool { return e.settled.Load() }

// Now returns the time in UTC, in whole milliseconds. It never goes back within an epoch.
//
// It loads the baseline before it reads the clock. Otherwise it could take a reading from an
// earlier epoch for one of the new epoch.
func (e *Time) Now() time.Time {
	l := e.baseline.Load()
	wall, elapsed := e.readClock()
	t, ok := e.fastTime(l, wall, elapsed)
	if !ok {
		t = e.Look()
	}
	return time.UnixMilli(t).UTC()
}

// readClock reads the clock, in Unix milliseconds, and with a Cached the time elapsed.
func (e *Time) readClock() (wall int64, elapsed time.Duration) {
	if e.cached != nil {
		return e.cached.ReadCached()
	}
	return e.wall(), 0
}

// fastTime returns the time in Unix milliseconds, or false where Look is needed, as it rarely
// is. It reads At before Epoch, so that an At of a later epoch than that of l is noticed.
func (e *Time) fastTime(l *baseline, wall int64, elapsed time.Duration) (t int64, ok bool) {
	seen := e.marks.At()
	if e.marks.Epoch() != l.epoch {
		return 0, false
	}
	t = max(wall, seen)
	switch {
	case e.cached != nil:
		lowest := l.at(elapsed)
		if elapsed >= l.until || t-lowest >= LookEvery && !l.median {
			return 0, false
		}
		if l.median {
			t = seen
		}
		t = max(t, lowest)
	case e.elapses != nil:
		return 0, false
	}
	return t, t == seen || e.marks.Follow(seen, t)
}

// Look returns the time in Unix milliseconds. It reads the clock, the time elapsed and the
// marks, and judges the clock by them.
func (e *Time) Look() int64 {
	e.mu.Lock()
	defer e.mu.Unlock()
	t, _ := e.look()
	return t
}

// look is Look for a caller that has locked e.mu. It also returns the reading of the clock.
func (e *Time) look() (t, wall int64) {
	mark := e.marks.Mark()
	if mark.Epoch != e.baseline.Load().epoch { // another Manager has begun an epoch
		e.beginEpoch(mark)
	}
	t, wall = mark.At.UnixMilli(), e.wall() // the clock is read after the epoch, as in Now
	if e.elapses == nil {
		t = max(wall, t)
	} else {
		t = e.advance(t, wall, mark.Quiet)
	}
	return max(t, e.marks.Raise(t, mark.Epoch)), wall
}

// advance returns the time by the baseline, the clocks and seen, the latest time that any Manager
// has seen, or by the median alone. It moves the baseline to that time, and judges the clock. The
// caller has locked e.mu.
func (e *Time) advance(seen, wall int64, quiet time.Time) (t int64) {
	l, elapsed := *e.baseline.Load(), e.elapses.Elapsed()
	lowest := l.at(elapsed)
	t, l.median = e.median(wall, lowest)
	if !l.median {
		t = laterPlausible(wall, max(seen, lowest))
	}
	e.delaySweep(t, lowest, elapsed, quiet)
	if t != lowest {
		l.base, l.since = t, elapsed
	}
	l.until = elapsed + LookEvery*time.Millisecond
	e.baseline.Store(&l)
	if !l.median {
		e.judgeClock(wall, t, elapsed)
	}
	return t
}
