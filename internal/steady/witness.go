package steady

import (
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// witness is the second clock of a Time: that of the engine of a store that several machines share.
// With it the time is the median of three: the clock of this machine, the clock of the engine, and the
// line, which is the last median carried on by the time elapsed. So no single clock that is wrong
// moves the time. The mutex of the Time guards all fields except news.
type witness struct {
	keeper   storage.Timekeeper // nil: there is none
	answered bool               // the keeper has answered
	compared bool               // with the clock of this machine: a disagreement that begins now came after an agreement
	apart    bool               // the two clocks disagree
	news     atomic.Pointer[Disagreement]
}

// Wrong says which of two clocks that disagree is wrong.
type Wrong uint8

const (
	WrongUnknown Wrong = iota // the line agrees with both or with none, or the clocks disagree from the start
	WrongOwn                  // the line agrees with the engine's clock alone
	WrongEngine               // the line agrees with the clock of this machine alone
)

// Disagreement is that the clock of this machine and that of the engine are further apart than the
// tolerance, together with the uncertainty of the engine's answer.
type Disagreement struct {
	Ahead time.Duration // how far the clock of this machine is ahead of the engine's; negative: behind
	Wrong Wrong
}

// Witnessed reports whether the clock of an engine is asked.
func (e *Time) Witnessed() bool { return e.witness.keeper != nil }

// TakeDisagreement returns a disagreement that has begun, or nil. It returns each of them once, and
// the last of those that began since the last call.
func (e *Time) TakeDisagreement() *Disagreement {
	if e.witness.news.Load() == nil {
		return nil
	}
	return e.witness.news.Swap(nil)
}

// median returns the median of wall, the engine's clock and line, all in Unix milliseconds. It returns
// false before the first answer of the engine. The line begins at that answer, and an answer that is
// missing later is taken as the line. The caller has locked e.mu.
func (e *Time) median(wall, line int64) (t int64, ok bool) {
	w := &e.witness
	if w.keeper == nil {
		return 0, false
	}
	at, uncertain, known := w.keeper.Time()
	engine := line
	switch {
	case known:
		engine = Milli(at)
	case !w.answered:
		return 0, false
	}
	if !w.answered {
		w.answered, line = true, engine
	}
	e.compare(wall, engine, line, e.limits.Tolerance.Milliseconds()+uncertain.Milliseconds())
	return max(min(wall, engine), min(max(wall, engine), line)), true
}

// compare notes whether wall and the engine's clock are apart by more than limit milliseconds, and
// when that begins. Where they disagree from the start, the line cannot tell which of the two is
// right: then nothing is swept for a while, by the time that decisions see.
func (e *Time) compare(wall, engine, line, limit int64) {
	far := func(a, b int64) bool { return max(a, b)-min(a, b) > limit }
	w, apart := &e.witness, far(wall, engine)
	if apart && !w.apart {
		d := &Disagreement{Ahead: time.Duration(max(-maxLag, min(wall-engine, maxLag))) * time.Millisecond}
		switch own, other := far(wall, line), far(engine, line); {
		case !w.compared:
			e.marks.Hush(Add(time.UnixMilli(max(line, e.marks.At())), Quiet))
		case own && !other:
			d.Wrong = WrongOwn
		case other && !own:
			d.Wrong = WrongEngine
		}
		w.news.Store(d)
	}
	w.compared, w.apart = true, apart
}
