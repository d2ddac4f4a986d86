package lapse

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Clock tells a Manager the time. It must be safe for concurrent use, and may go
// backwards: what decisions see does not (Config.ClockGuard). *clock.Mock of
// github.com/benbjohnson/clock is a Clock as it is, and so is anything else with
// these two methods.
//
// A Clock may also have a method Elapsed() time.Duration: how much time has passed
// since some instant, whatever the clock was set to meanwhile, the time that the
// machine was suspended included where that can be known. Without this method a clock that
// was set back cannot be told from a clock that waits: time stands still until the clock
// has caught up. A mock is such a clock; GuardOff has time go back with the mock.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// Now returns the time that decisions see, in UTC and to the millisecond. It is what to
// give Token.Live for a token that a list returned: after the clock was set back it
// agrees with Authenticate, and Config.Clock does not.
func (m *Manager) Now() time.Time { return m.now() }

// heartbeat returns what has c read again every so often, if c does not know how much time
// has passed: it may have been set, and the machine may have slept. A mock stops at each
// timer of its own, so the ticker is one of package time. No decision depends on when it
// fires.
func heartbeat(c Clock, every time.Duration) (beat <-chan time.Time, stop func()) {
	if _, ok := c.(steady.Elapser); ok {
		return nil, func() {} // holdRun.next has a timer of c for that
	}
	ticker := time.NewTicker(every)
	return ticker.C, ticker.Stop
}

// now is the only reader of the clock, and what it returns the only time that
// decisions see: it never goes back but under GuardOff. Without a monotonic reading a
// suspended machine cannot lengthen a life, and whole milliseconds are what every store
// can keep, so that all of them agree on every instant.
func (m *Manager) now() time.Time {
	if m.time == nil {
		return steady.Normalise(m.clock.Now())
	}
	return m.time.Now()
}

// ClockGuard says what happens when the clock proves to have been wrong: it stays
// behind the time that tokens were judged by, for longer than Config.ClockSettle and by
// more than Config.ClockTolerance. Each user loses one log-in by each
// wrong setting of the clock at most; a jump away and the correction are two. Under every guard
// but GuardOff time never goes back until then: see Time in the package comment.
//
// It takes a Clock that knows how much time has passed (Elapsed), as the system's
// does, and a store that is a storage.Marker, as memory and bolt are. Without them time
// goes on, or with a Clock without Elapsed waits, until the clock has caught up. The
// settle time counts from the instant at which any Manager of the store first found the
// clock behind. A verb during which that time ends judges again, by the time of after.
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

// guard returns the marks that a Manager goes by, and what keeps its time: nil with
// GuardOff. The marks are those that the store keeps, or lets the Managers of this
// process share, or else shared, or else the Manager's own.
func (cfg *Config) guard(clock Clock, store storage.Store, retention time.Duration, shared *storage.Marks) (*storage.Marks, *steady.Time, error) {
	numbers := steady.Numbers{Tolerance: defaultTolerance, Settle: defaultSettle}
	for _, n := range []struct {
		name  string
		value time.Duration
		to    *time.Duration
	}{
		{"ClockTolerance", cfg.ClockTolerance, &numbers.Tolerance},
		{"ClockSettle", cfg.ClockSettle, &numbers.Settle},
	} {
		if err := checkDuration(n.value, false); err != nil {
			return nil, nil, fmt.Errorf("%w: %s: %w", ErrInvalidConfig, n.name, err)
		}
		if n.value > 0 {
			*n.to = n.value.Truncate(time.Millisecond)
		}
	}
	numbers.Leap = max(numbers.Tolerance, min(retention, steady.Quiet))
	marker, kept := store.(storage.Marker)
	switch {
	case cfg.ClockGuard > GuardOff:
		return nil, nil, fmt.Errorf("%w: ClockGuard: %d is none of GuardDefault, GuardStrict, GuardOff", ErrInvalidConfig, cfg.ClockGuard)
	case cfg.ClockGuard == GuardStrict && !kept:
		return nil, nil, fmt.Errorf("%w: ClockGuard: GuardStrict needs a store that is a storage.Marker, as memory and bolt are", ErrInvalidConfig)
	}
	marks := shared
	if sharer, ok := store.(storage.MarkSharer); ok {
		marks = sharer.SharedMarks()
	}
	switch {
	case kept:
		marks = marker.Marks()
	case marks == nil:
		marks = storage.NewMarks(storage.Mark{}, nil)
	}
	if cfg.ClockGuard == GuardOff {
		return marks, nil, nil
	}
	return marks, steady.New(clock, marks, kept, numbers), nil
}

// claim begins a new epoch in New if the store has lost its mark, since then it cannot
// be known which tokens an earlier one ended. It also does if the clock was behind when
// the store was used last, and would have settled by what it says itself: tokens might
// live longer by all the time that the store was closed.
func (m *Manager) claim() {
	mark, at := m.marks.Mark(), steady.Normalise(m.clock.Now())
	lost := mark.Epoch > 0 && mark.Since.IsZero()
	overdue := m.guarded && !m.strict && m.time.Overdue(at.UnixMilli(), mark)
	if (lost || overdue) && m.marks.Restart(at, steady.Add(at, steady.Quiet), mark.Epoch) {
		m.tell(context.Background(), Event{Kind: EventClock, At: at})
	}
}

// lagging reports whether a Manager of this store has found its clock behind, so that it
// may have settled by now. It is nearly always false, and costs next to nothing then.
func (m *Manager) lagging() bool { return m.guarded && m.marks.Lagging() }

// ready is called at the beginning of every verb, outside of transactions. It says why
// nothing can be done, if the clock is the reason, or has time follow the clock.
func (m *Manager) ready(ctx context.Context, verb string) (err error) {
	if m.lagging() {
		err = m.settle(ctx, verb)
	}
	return err
}

// settle is ready while a clock is behind. It looks at the clock each time: a verb that
// began by the time of before would act in an epoch that the next verb ends.
func (m *Manager) settle(ctx context.Context, verb string) error {
	if !m.strict {
		m.followClock(ctx, false)
		return nil
	}
	if m.time.Look(); !m.time.Settled() {
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
	if at, done := m.time.Restart(accept); done {
		m.tell(ctx, Event{Kind: EventClock, At: at})
	}
}

// followClock is Manager.ready for connections that are held.
func (r *holdRun) followClock() {
	if r.m.strict || !r.m.lagging() {
		return
	}
	if at, done := r.m.time.Restart(false); done {
		r.m.tellApart(Event{Kind: EventClock, At: at})
	}
}
