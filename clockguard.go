package lapse

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// ClockGuard says what happens when the clock proves to have been wrong: it stays
// behind the time that tokens were judged by, for longer than Config.ClockSettle and by
// more than Config.ClockTolerance. Whoever was logged in loses one log-in by each
// wrong setting of the clock at most; a jump away and the correction are two. Under every guard
// but GuardOff time never goes back until then: see Time in the package comment.
//
// It takes a Clock that knows how much time has passed (Elapsed), as the system's
// does, and a store that is a storage.Marker, as memory and bolt are. Without them time
// goes on, or with a Clock without Elapsed waits, until the clock has caught up.
//
//	              a clock that has stayed behind                  one set back meanwhile
//	GuardDefault  tokens of before end, time follows it           changes nothing
//	GuardStrict   every verb answers ErrClock, connections stay   changes nothing
//	GuardOff      is followed at once                             revives what ran out
type ClockGuard uint8

const (
	// GuardDefault: tokens issued before end, with EndClock, and time follows the
	// clock from then on. Everybody logs in once more and nobody is locked out.
	GuardDefault ClockGuard = iota

	// GuardStrict: every verb answers ErrClock until the clock is right, or
	// somebody calls AcceptClock.
	GuardStrict

	// GuardOff: the clock is trusted as it is, and time goes back with it. What
	// ran out meanwhile lives again.
	GuardOff
)

const (
	defaultTolerance = 5 * time.Minute
	defaultSettle    = 10 * time.Minute
)

// guard returns the marks that m goes by, and what keeps its time: nil with GuardOff.
func (cfg *Config) guard(clock Clock, store storage.Store, retention time.Duration) (*storage.Marks, *effective, error) {
	numbers := guardNumbers{tolerance: defaultTolerance, settle: defaultSettle}
	for _, n := range []struct {
		name  string
		value time.Duration
		to    *time.Duration
	}{
		{"ClockTolerance", cfg.ClockTolerance, &numbers.tolerance},
		{"ClockSettle", cfg.ClockSettle, &numbers.settle},
	} {
		if err := checkDuration(n.value, false); err != nil {
			return nil, nil, fmt.Errorf("%w: %s: %w", ErrInvalidConfig, n.name, err)
		}
		if n.value > 0 {
			*n.to = n.value.Truncate(time.Millisecond)
		}
	}
	numbers.leap = max(numbers.tolerance, min(retention, quiet))
	marker, kept := store.(storage.Marker)
	switch {
	case cfg.ClockGuard > GuardOff:
		return nil, nil, fmt.Errorf("%w: ClockGuard: %d is none of GuardDefault, GuardStrict, GuardOff", ErrInvalidConfig, cfg.ClockGuard)
	case cfg.ClockGuard == GuardStrict && !kept:
		return nil, nil, fmt.Errorf("%w: ClockGuard: GuardStrict needs a store that is a storage.Marker, as memory and bolt are", ErrInvalidConfig)
	}
	marks := storage.NewMarks(storage.Mark{}, nil)
	if kept {
		marks = marker.Marks()
	}
	if cfg.ClockGuard == GuardOff {
		return marks, nil, nil
	}
	return marks, newEffective(clock, marks, kept, numbers), nil
}

// claim begins a new epoch in New if the store has lost its mark, since nobody knows any
// more which tokens an earlier one ended. It also does if the clock was behind when the
// store was used last, and would have settled by what it says itself: tokens might live
// longer by all the time that the store was closed.
func (m *Manager) claim() {
	mark, at := m.marks.Mark(), normalise(m.clock.Now())
	lost := mark.Epoch > 0 && mark.Since.IsZero()
	settled := m.time != nil && m.time.epochs && m.time.elapses != nil && !m.strict && !mark.Behind.IsZero() &&
		plausible(at.UnixMilli()) && at.Sub(mark.Behind) > m.time.numbers.settle
	if (lost || settled) && m.marks.Restart(at, add(at, quiet), mark.Epoch) {
		m.tell(context.Background(), Event{Kind: EventClock, At: at})
	}
}

// ready is called at the beginning of every verb, outside of transactions, and while
// connections are held. It says why nothing can be done, if the clock is the reason, or
// has time follow it.
func (m *Manager) ready(ctx context.Context, verb string) error {
	if m.time == nil || !m.time.settled.Load() || !m.time.epochs {
		return nil
	}
	if !m.strict {
		m.followClock(ctx, false)
		return nil
	}
	if m.time.look(); !m.time.settled.Load() { // it is right again
		return nil
	}
	return fmt.Errorf("lapse: %s: %w", verb, ErrClock)
}

// AcceptClock says that the clock is right now, although it is behind the time that
// tokens were judged by, by more than Config.ClockTolerance: tokens issued before end,
// with EndClock, and time follows the clock. It does nothing if the clock is not behind,
// with GuardOff, or with a store that is no storage.Marker. It is for an administrator,
// under GuardStrict above all. The store writes it with what it writes next, and bolt
// within Options.FlushEvery.
func (m *Manager) AcceptClock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return storeError("accept clock", err)
	}
	if m.time != nil {
		m.followClock(ctx, true)
	}
	return nil
}

func (m *Manager) followClock(ctx context.Context, accept bool) {
	if at, done := m.time.restart(accept); done {
		m.holds.lookAtAll()
		m.tell(ctx, Event{Kind: EventClock, At: at})
	}
}

// followClock is Manager.ready while connections are held.
func (r *holdRun) followClock() {
	m := r.m
	if m.time == nil || m.strict || !m.time.settled.Load() {
		return
	}
	if at, done := m.time.restart(false); done {
		m.holds.lookAtAll()
		m.tellApart(Event{Kind: EventClock, At: at})
	}
}

// stamp returns the time for a record that is made now, and the epoch that it is of. It
// must not come to a time from before a new epoch with that epoch's number: such a
// token would live by the wrong clock.
func (m *Manager) stamp() (now time.Time, epoch uint32) {
	for {
		epoch = m.marks.Epoch()
		now = m.now()
		if m.marks.Epoch() == epoch {
			return now, epoch
		}
	}
}

// earlier reports whether rec is of an earlier epoch, and so ended. The time to judge
// it by is read before this is asked.
func (m *Manager) earlier(rec *storage.Record) bool {
	return rec.Epoch < m.marks.Epoch() && rec.EndedAt.IsZero()
}

// endedByClock makes of a token of an earlier epoch what everyone sees of it.
func (m *Manager) endedByClock(rec *storage.Record) {
	if m.earlier(rec) {
		rec.EndedAt, rec.EndReason = normalise(m.marks.Mark().Since), EndClock
	}
}

// endEarlierEpochs ends, in their records, the tokens of earlier epochs, which are dead
// already: those would be kept for as long as the wrong clock let them live.
func (m *Manager) endEarlierEpochs(ctx context.Context) error {
	epoch := m.marks.Epoch()
	if m.time.ended.Load() == epoch {
		return nil
	}
	for rec, err := range m.store.List(ctx, storage.Filter{}) {
		if errors.Is(err, ErrCorrupt) || err == nil && !m.earlier(&rec) {
			continue
		}
		if err == nil {
			id := rec.ID
			err = m.store.Update(ctx, rec.Subject, func(tx storage.Tx) error {
				rec, err := getIn(tx, id)
				if errors.Is(err, errGone) || err == nil && !m.earlier(&rec) {
					return nil
				}
				m.endedByClock(&rec)
				return tx.Put(rec)
			})
		}
		if err != nil {
			return storeError("sweep", err)
		}
	}
	m.time.ended.Store(epoch)
	return nil
}
