package steady

import (
	"math"
	"time"
)

// delaySweep delays sweeping where the time t has jumped: where t is further ahead of the time
// elapsed than it was, by more than MaxJump. It does so before any caller sees t. A delay that
// lasts until the instant until is lengthened by a jump within it.
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

// isBehind reports whether wall is behind t by more than the tolerance.
func (e *Time) isBehind(wall, t int64) bool { return t-wall > e.limits.Tolerance.Milliseconds() }

// noteLag notes in the marks how far wall is behind t, and returns the Behind from before.
func (e *Time) noteLag(wall, t int64) (noted time.Time) {
	by := time.Duration(max(0, min(t-wall, maxLag))) * time.Millisecond
	return e.marks.Lag(time.UnixMilli(wall).UTC(), by, e.limits.Tolerance)
}

// maxLag is the longest Duration, in milliseconds.
const maxLag = math.MaxInt64 / int64(time.Millisecond)

// judgeClock notes since when wall has been behind t, and whether the settle time has passed
// since then. If another Manager has noted a lag before, this one counts from there. If the
// note was removed meanwhile, the clock of another Manager is not behind, and the count starts
// again. A clock that is not plausible never settles.
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

// Restart begins a new epoch, in which the time follows the clock, if the clock has been behind
// for longer than the settle time, or if it is behind and accept says that it is right. It
// returns the instant, and whether this call began the epoch.
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
