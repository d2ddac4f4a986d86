package lapse

import (
	"cmp"
	"context"
	"log/slog"
	"strconv"
	"time"

	"github.com/seed-55daa01a/lapse/internal/loglimit"
)

// LogOptions are the options of LogEvents. The zero LogOptions are the documented levels, and ten
// events a minute of each limited kind.
type LogOptions struct {
	// Level returns the level at which e is logged. nil: the levels that LogEvents documents. For a
	// line about events that were dropped, e has Kind, At, Prefix, their number as N, and the Err of
	// the last of them.
	Level func(e Event) slog.Level

	// PerMinute is how many events of each limited kind are logged in a minute, for each prefix.
	// 0: 10. Negative: there is no limit.
	PerMinute int
}

// LogEvents returns a function for Config.Observe that logs each event by l, at the instant of the
// event. A nil l is the default Logger of slog at each call, and a nil o the zero LogOptions. The
// function may be shared by Managers and called at once by any number of goroutines.
//
// The levels are: Debug for EventRenewed, EventHeld, EventRepeated, and an EventCouldNotTell of a
// canceled context; Info for EventIssued, EventEnded, EventRejected, EventRotated, EventCut,
// EventSwept, EventConfirmed, EventSuspended, EventResumed, EventImported, EventEdited and
// EventForgotten; Warn for EventRenewalFailed, EventClock and EventSpent; and Error for EventAhead,
// EventHookFailed, EventClockDisagreement and any other EventCouldNotTell.
//
// EventRejected, EventSpent, EventAhead, EventRenewalFailed, EventCouldNotTell and
// EventClockDisagreement are limited, because strangers, a store that is away, or a clock that
// jumps to and fro, can cause any number of them. A minute of a prefix
// begins with the At of such an event. When a later event of that prefix says that the minute is
// over, one line for each kind says how many events were dropped. At a time, 64 prefixes have
// minutes of their own, and further prefixes share one. So LogEvents keeps a few kilobytes at most.
// Managers that share the function and a prefix need Clocks that agree.
func LogEvents(l *slog.Logger, o *LogOptions) func(ctx context.Context, e Event) {
	log := eventLog{logger: l, level: levelOf}
	if o != nil {
		log.limit.PerMinute = o.PerMinute
		if o.Level != nil {
			log.level = o.Level
		}
	}
	log.limit.PerMinute = cmp.Or(log.limit.PerMinute, defaultPerMinute)
	return log.observe
}

// eventLevels are the levels of LogEvents by kind.
var eventLevels = [eventKindCount]slog.Level{
	EventIssued: slog.LevelInfo, EventRenewed: slog.LevelDebug, EventEnded: slog.LevelInfo, EventRejected: slog.LevelInfo,
	EventRenewalFailed: slog.LevelWarn, EventClock: slog.LevelWarn, EventRotated: slog.LevelInfo, EventSpent: slog.LevelWarn,
	EventAhead: slog.LevelError, EventHookFailed: slog.LevelError, EventHeld: slog.LevelDebug, EventCut: slog.LevelInfo,
	EventSwept: slog.LevelInfo, EventRepeated: slog.LevelDebug, EventCouldNotTell: slog.LevelError, EventConfirmed: slog.LevelInfo,
	EventSuspended: slog.LevelInfo, EventResumed: slog.LevelInfo, EventImported: slog.LevelInfo, EventEdited: slog.LevelInfo,
	EventForgotten: slog.LevelInfo, EventClockDisagreement: slog.LevelError, EventRedeemed: slog.LevelInfo,
}

// levelOf returns the level of e that LogEvents documents.
func levelOf(e Event) slog.Level {
	switch {
	case e.Kind == EventCouldNotTell && Code(e.Err) == "canceled":
		return slog.LevelDebug
	case int(e.Kind) < len(eventLevels):
		return eventLevels[e.Kind]
	}
	return slog.LevelInfo
}

// defaultPerMinute is LogOptions.PerMinute.
const defaultPerMinute = 10

// limitedKind reports whether LogEvents limits the events of kind.
func limitedKind(kind EventKind) bool {
	switch kind {
	case EventRejected, EventSpent, EventAhead, EventRenewalFailed, EventCouldNotTell, EventClockDisagreement:
		return true
	}
	return false
}

// eventLog is the state of one LogEvents.
type eventLog struct {
	logger *slog.Logger
	level  func(Event) slog.Level
	limit  loglimit.Limit
}

// observe logs e, after the lines of a minute that is over.
func (l *eventLog) observe(ctx context.Context, e Event) {
	handler := cmp.Or(l.logger, slog.Default()).Handler()
	level := l.level(e)
	enabled := handler.Enabled(ctx, level)
	within, over := l.limit.Take(&loglimit.Event{Prefix: e.Prefix, Kind: uint8(e.Kind), At: e.At, Err: e.Err, Limited: limitedKind(e.Kind)}, enabled)
	for _, d := range over {
		l.logDropped(ctx, handler, e.At, d)
	}
	if enabled && within {
		_ = handler.Handle(ctx, logRecord(&e, level)) // a log that fails is no fault of the verb
	}
}

// logDropped logs at an instant that events were dropped.
func (l *eventLog) logDropped(ctx context.Context, handler slog.Handler, at time.Time, d loglimit.Dropped) {
	kind := EventKind(d.Kind)
	level := l.level(Event{Kind: kind, At: at, Prefix: d.Prefix, N: d.N, Err: d.Last})
	if !handler.Enabled(ctx, level) {
		return
	}
	r := slog.NewRecord(at, level, "lapse: "+kind.String()+": more than are logged", 0)
	r.AddAttrs(slog.String("kind", kind.String()), slog.String("prefix", d.Prefix), slog.Int("dropped", d.N), slog.Time("since", d.Since))
	_ = handler.Handle(ctx, r)
}

// logRecord returns the line of e. A field that is zero has no attribute.
func logRecord(e *Event, level slog.Level) slog.Record {
	r := slog.NewRecord(e.At, level, "lapse: "+e.Kind.String(), 0)
	text := func(key, value string, set bool) {
		if set && value != "" {
			r.AddAttrs(slog.String(key, value))
		}
	}
	text("kind", e.Kind.String(), true)
	text("verb", e.Verb.String(), e.Verb != 0)
	text("prefix", e.Prefix, true)
	text("id", e.Token.ID.String()+"#"+strconv.FormatUint(uint64(e.Token.Generation), 10), e.Token.ID != ID{})
	text("subject", e.Token.Subject, true)
	text("reason", e.Token.EndReason.String(), e.Token.EndReason != 0)
	text("actor", e.Actor.Name, true)
	text("note", e.Actor.Note, true)
	if e.Took != 0 {
		r.AddAttrs(slog.Duration("took", e.Took))
	}
	if e.N != 0 {
		r.AddAttrs(slog.Int("n", e.N))
	}
	if e.Err != nil {
		r.AddAttrs(slog.String("code", Code(e.Err)), slog.String("error", e.Err.Error()))
	}
	return r
}
