package lapse

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Clock tells a Manager the time. It must be safe for concurrent use. It may go backwards,
// and the time that decisions see still does not within an epoch (Config.ClockGuard). *clock.Mock of
// github.com/benbjohnson/clock is a Clock.
//
// A Clock may also have a method Elapsed() time.Duration, which returns how much time has
// passed since some instant, whatever the clock was set to meanwhile. It includes the time
// that the machine was suspended, where that can be known. Without this method a clock that
// was set back cannot be told from a clock that waits: time stands still until the clock has
// caught up. A mock is such a clock. Under GuardOff time goes back with the mock.
type Clock interface {
	Now() time.Time
	After(d time.Duration) <-chan time.Time
}

// Now returns the time that decisions see, in UTC and whole milliseconds. Give it to
// Token.Live for a token that a list returned: it agrees with Authenticate also after the
// clock was set back, when Config.Clock does not. Within an epoch it never goes back. A new epoch
// begins at the clock, which may be earlier, and ends all tokens of before (ClockGuard). Under
// GuardOff Now goes back with the clock.
func (m *Manager) Now() time.Time { return m.now() }

// now is Now: no decision sees another time. It has no monotonic reading, so that a suspended
// machine cannot lengthen a life, and it is in whole milliseconds, which every store can keep.
func (m *Manager) now() time.Time {
	if m.time == nil {
		return steady.Normalise(m.clock.Now())
	}
	return m.time.Now()
}

// ClockGuard says what happens when the clock proves to have been wrong: when it stays behind
// the time that tokens were judged by, by more than Config.ClockTolerance and for longer than
// Config.ClockSettle. Each wrong setting of the clock costs each user at most one log-in. A
// jump away and the correction are two settings. Until then time never goes back, except under
// GuardOff: see Time in the package comment. The time from one such proof to the next is an epoch.
//
// The guard needs a Clock that knows how much time has passed (Elapsed), as the system clock
// does, and a store that is a storage.Marker, as memory and bolt are. On another store no epoch
// begins: time goes on until the clock has caught up, AcceptClock does nothing, and GuardStrict is
// ErrInvalidConfig. With a Clock without Elapsed time stands still until then.
//
// A store that several machines share is no Marker. Where it is a storage.Timekeeper, time is the
// median of the Clock, the clock of the store, and the last median with the time elapsed since. So
// one clock that is wrong moves no decision, and Observe is told of EventClockDisagreement. GuardOff
// and a Clock without Elapsed do not ask the store. Neither is a Timekeeper asked that is a Marker.
//
// The settle time counts from the instant at which any Manager of the store first found the
// clock behind. If it ends while a verb runs, the verb decides once more, by the new time.
//
//	              a clock that has stayed behind                  one set back meanwhile
//	GuardDefault  tokens of before end, time follows it           changes nothing
//	GuardStrict   every verb answers ErrClock, connections stay   changes nothing
//	GuardOff      is followed at once                             revives what ran out
type ClockGuard uint8

const (
	// GuardDefault ends the tokens issued before, with EndClock, and from then on time
	// follows the clock. Each user logs in once more, and none is locked out.
	GuardDefault ClockGuard = iota

	// GuardStrict has every verb return ErrClock until the clock is right or AcceptClock is
	// called.
	GuardStrict

	// GuardOff trusts the clock, and time goes back with it. Tokens that ran out meanwhile
	// live again.
	GuardOff
)

const (
	defaultTolerance = 5 * time.Minute
	defaultSettle    = 10 * time.Minute
)

// guard returns the marks of a Manager, and its steady.Time, which is nil under GuardOff.
func (cfg *Config) guard(clock Clock, store storage.Store, retention time.Duration, shared *storage.Marks) (*storage.Marks, *steady.Time, error) {
	limits, err := cfg.clockLimits(retention)
	if err != nil {
		return nil, nil, err
	}
	_, kept := store.(storage.Marker)
	switch {
	case cfg.ClockGuard > GuardOff:
		return nil, nil, fmt.Errorf("%w: ClockGuard: %d is none of GuardDefault, GuardStrict, GuardOff", ErrInvalidConfig, cfg.ClockGuard)
	case cfg.ClockGuard == GuardStrict && !kept:
		return nil, nil, fmt.Errorf("%w: ClockGuard: GuardStrict needs a store that is a storage.Marker, as memory and bolt are", ErrInvalidConfig)
	}
	marks := marksOf(store, shared)
	if cfg.ClockGuard == GuardOff {
		return marks, nil, nil
	}
	var keeper storage.Timekeeper
	if !kept { // a store that keeps marks has one machine, and one clock
		keeper, _ = store.(storage.Timekeeper)
	}
	return marks, steady.New(clock, marks, kept, limits, keeper), nil
}

// clockLimits returns the limits within which the clock is taken for right, or ErrInvalidConfig
// with the name of the field.
func (cfg *Config) clockLimits(retention time.Duration) (steady.Limits, error) {
	limits := steady.Limits{Tolerance: defaultTolerance, Settle: defaultSettle}
	for _, n := range []struct {
		name  string
		value time.Duration
		to    *time.Duration
	}{
		{"ClockTolerance", cfg.ClockTolerance, &limits.Tolerance},
		{"ClockSettle", cfg.ClockSettle, &limits.Settle},
	} {
		if err := checkDuration(n.value, false); err != nil {
			return limits, fmt.Errorf("%w: %s: %w", ErrInvalidConfig, n.name, err)
		}
		if n.value > 0 {
			*n.to = n.value.Truncate(time.Millisecond)
		}
	}
	limits.MaxJump = max(limits.Tolerance, min(retention, steady.Quiet))
	return limits, nil
}

// marksOf returns the marks that store keeps, or else those that it lets the Managers of this
// process share, or else shared. If there are none, it makes marks for one Manager.
func marksOf(store storage.Store, shared *storage.Marks) *storage.Marks {
	if marker, ok := store.(storage.Marker); ok {
		return marker.Marks()
	}
	if sharer, ok := store.(storage.MarkSharer); ok {
		shared = sharer.SharedMarks()
	}
	if shared == nil {
		return storage.NewMarks(storage.Mark{}, nil)
	}
	return shared
}

// checkMark begins a new epoch, when a Manager is made, in two cases. The store has lost its
// mark: then the tokens that an earlier epoch ended are not known. Or the clock was behind when
// the store was last used, and by its own reading it has been behind for the settle time:
// then tokens might live longer by the time that the store was closed.
func (m *Manager) checkMark() {
	mark, at := m.marks.Mark(), steady.Normalise(m.clock.Now())
	lost := mark.Epoch > 0 && mark.Since.IsZero()
	overdue := m.guarded && !m.strict && m.time.Overdue(at.UnixMilli(), mark)
	if (lost || overdue) && m.marks.Restart(at, steady.Add(at, steady.Quiet), mark.Epoch) {
		m.tell(context.Background(), new(call), Event{Kind: EventClock, At: at})
	}
}

// lagging reports whether a Manager of this store has found its clock behind, so that the
// settle time may have passed. It is nearly always false.
func (m *Manager) lagging() bool { return m.guarded && m.marks.Lagging() }

// ready is called at the beginning of every verb, outside transactions. Where the clock has been
// behind for the settle time, it lets time follow the clock, or returns ErrClock under
// GuardStrict.
func (m *Manager) ready(ctx context.Context, verb *call) (err error) {
	switch {
	case m.lagging():
		err = m.settle(ctx, verb)
	case m.witnessed:
		m.tellDisagreement(func(e Event) { m.tell(ctx, verb, e) })
	}
	return err
}

// settle is ready while a clock is behind. It reads the clock at every call: a verb that began
// with an earlier reading would act in an epoch that the next verb ends.
func (m *Manager) settle(ctx context.Context, verb *call) error {
	if !m.strict {
		m.followClock(ctx, verb, false)
		return nil
	}
	if m.time.Look(); !m.time.Settled() {
		return nil
	}
	return fmt.Errorf("lapse: %s: %w", verb.Verb, ErrClock)
}

// tellDisagreement counts and tells that the clock of this machine and that of the store have begun to
// disagree. A Manager that finds that tells with the next verb, or while it holds connections.
func (m *Manager) tellDisagreement(tell func(Event)) {
	if d := m.time.TakeDisagreement(); d != nil {
		m.count(VerbClocks, outcomeOK, 1)
		tell(Event{Kind: EventClockDisagreement, At: m.now(), Err: &clocksDiffer{*d}})
	}
}

// clocksDiffer is the Err of an EventClockDisagreement. It is an ErrClock.
type clocksDiffer struct{ steady.Disagreement }

func (e *clocksDiffer) Is(target error) bool { return target == ErrClock }

func (e *clocksDiffer) Error() string {
	way := "ahead of"
	if e.Ahead < 0 {
		way = "behind"
	}
	wrong := [...]string{"which of them is wrong is not known: check both", "that of this machine is wrong: set it right", "that of the store is wrong: set it right"}
	return fmt.Sprintf("lapse: the clock of this machine is %v %s that of the store; %s", e.Ahead.Abs(), way, wrong[e.Wrong])
}

// AcceptClock tells lapse that the clock is right, although it is behind the time that tokens
// were judged by, by more than Config.ClockTolerance. Tokens issued before end, with EndClock,
// and time follows the clock. AcceptClock does nothing if the clock is not behind, under
// GuardOff, or with a store that is no storage.Marker. It is for an administrator, above all
// under GuardStrict. The store writes the new epoch with its next write, and bolt within
// Options.FlushEvery. The error is that of the context.
func (m *Manager) AcceptClock(ctx context.Context) (err error) {
	verb := m.begin(VerbAcceptClock, &err)
	defer m.finish(ctx, &verb, &err)
	if err := ctx.Err(); err != nil {
		return storeError(VerbAcceptClock, err)
	}
	if m.time != nil {
		m.followClock(ctx, &verb, true)
	}
	return nil
}

// followClock begins a new epoch if the clock has been behind for the settle time, or if it is
// behind and accept says that it is right.
func (m *Manager) followClock(ctx context.Context, verb *call, accept bool) {
	if at, done := m.time.Restart(accept); done {
		m.tell(ctx, verb, Event{Kind: EventClock, At: at})
	}
}

// followClockHeld is Manager.ready for the scheduler of held connections.
func (m *Manager) followClockHeld() {
	if m.witnessed {
		m.tellDisagreement(func(e Event) { m.tellApart(VerbHold, e) })
	}
	if m.strict || !m.lagging() {
		return
	}
	if at, done := m.time.Restart(false); done {
		m.tellApart(VerbHold, Event{Kind: EventClock, At: at})
	}
}
