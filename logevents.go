package lapse

import (
	"cmp"
	"context"
	"log/slog"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
)

// LogOptions are the options of LogEvents. The zero LogOptions are the documented levels, and ten
// rejections a minute.
type LogOptions struct {
	// Level returns the level at which e is logged. nil: the levels that LogEvents documents.
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
// EventSwept and EventConfirmed; Warn for EventRenewalFailed, EventClock and EventSpent; and Error for EventAhead,
// EventHookFailed and any other EventCouldNotTell.
//
// EventRejected and EventSpent are limited, because strangers can cause any number of them. A
// minute begins with the At of such an event. When a later event says that the minute is over, one
// line for each kind and prefix says how many events were dropped. Prefixes after the 64th of a
// minute share one limit. So LogEvents keeps a few kilobytes at most.
func LogEvents(l *slog.Logger, o *LogOptions) func(ctx context.Context, e Event) {
	log := eventLog{logger: l, level: levelOf}
	if o != nil {
		log.limit.perMinute = o.PerMinute
		if o.Level != nil {
			log.level = o.Level
		}
	}
	log.limit.perMinute = cmp.Or(log.limit.perMinute, defaultPerMinute)
	return log.observe
}

const (
	defaultPerMinute = 10 // LogOptions.PerMinute
	maxLogPrefixes   = 64 // how many prefixes have a limit of their own
	otherPrefixes    = "(others)"
)

// eventLevels are the levels of LogEvents by kind.
var eventLevels = [...]slog.Level{
	EventIssued: slog.LevelInfo, EventRenewed: slog.LevelDebug, EventEnded: slog.LevelInfo, EventRejected: slog.LevelInfo,
	EventRenewalFailed: slog.LevelWarn, EventClock: slog.LevelWarn, EventRotated: slog.LevelInfo, EventSpent: slog.LevelWarn,
	EventAhead: slog.LevelError, EventHookFailed: slog.LevelError, EventHeld: slog.LevelDebug, EventCut: slog.LevelInfo,
	EventSwept: slog.LevelInfo, EventRepeated: slog.LevelDebug, EventCouldNotTell: slog.LevelError, EventConfirmed: slog.LevelInfo,
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

// limitedKind reports whether LogEvents limits the events of kind.
func limitedKind(kind EventKind) bool { return kind == EventRejected || kind == EventSpent }

// eventLog is the state of one LogEvents.
type eventLog struct {
	logger *slog.Logger
	level  func(Event) slog.Level
	limit  logLimit
}

// observe logs e, after the lines of a minute that is over.
func (l *eventLog) observe(ctx context.Context, e Event) {
	handler := cmp.Or(l.logger, slog.Default()).Handler()
	level := l.level(e)
	enabled := handler.Enabled(ctx, level)
	within, over := l.limit.take(&e, enabled)
	for _, d := range over {
		l.logDropped(ctx, handler, e.At, d)
	}
	if enabled && within {
		_ = handler.Handle(ctx, logRecord(&e, level)) // a log that fails is no fault of the verb
	}
}

// logDropped logs at an instant that events were dropped.
func (l *eventLog) logDropped(ctx context.Context, handler slog.Handler, at time.Time, d dropped) {
	level := l.level(Event{Kind: d.kind, At: at, Prefix: d.prefix, N: d.n})
	if !handler.Enabled(ctx, level) {
		return
	}
	r := slog.NewRecord(at, level, "lapse: "+d.kind.String()+": more than are logged", 0)
	r.AddAttrs(slog.String("kind", d.kind.String()), slog.String("prefix", d.prefix), slog.Int("dropped", d.n), slog.Time("since", d.since))
	_ = handler.Handle(ctx, r)
}

// logRecord returns the line of e. A field that is zero has no attribute.
func logRecord(e *Event, level slog.Level) slog.Record {
	r := slog.NewRecord(e.At, level, "lapse: "+e.Kind.String(), 0)
	text := func(key, value string) {
		if value != "" {
			r.AddAttrs(slog.String(key, value))
		}
	}
	text("kind", e.Kind.String())
	if e.Verb != 0 {
		text("verb", e.Verb.String())
	}
	text("prefix", e.Prefix)
	if e.Token.ID != (ID{}) {
		text("id", e.Token.ID.String()+"#"+strconv.FormatUint(uint64(e.Token.Generation), 10))
	}
	text("subject", e.Token.Subject)
	if e.Token.EndReason != 0 {
		text("reason", e.Token.EndReason.String())
	}
	text("actor", e.Actor.Name)
	text("note", e.Actor.Note)
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

// logLimit limits how many events are logged in a minute.
type logLimit struct {
	perMinute int // negative: any number

	mu    sync.Mutex
	began time.Time           // of the minute; zero: none has begun
	count map[logSource]int   // of the events of the minute
	known map[string]struct{} // the prefixes of the minute
}

// logSource is what a limit is for.
type logSource struct {
	prefix string
	kind   EventKind
}

// dropped says how many events of a minute were not logged.
type dropped struct {
	logSource
	n     int
	since time.Time
}

// take reports whether e is within its limit. If e says that a minute is over, take returns what was
// dropped in that minute, in the order of prefixes and kinds. An event that is not enabled is not
// counted.
func (l *logLimit) take(e *Event, enabled bool) (within bool, over []dropped) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if since := e.At.Sub(l.began); !l.began.IsZero() && (since >= time.Minute || since < -time.Minute) {
		over = l.finish()
	}
	if !enabled || l.perMinute < 0 || !limitedKind(e.Kind) {
		return enabled, over
	}
	if l.began.IsZero() {
		l.began, l.count, l.known = e.At, make(map[logSource]int), make(map[string]struct{})
	}
	source := logSource{l.limitOf(e.Prefix), e.Kind}
	l.count[source]++
	return l.count[source] <= l.perMinute, over
}

// limitOf returns the prefix whose limit applies to prefix: itself, or otherPrefixes for a prefix
// that no Manager can have, or that comes after too many.
func (l *logLimit) limitOf(prefix string) string {
	if _, known := l.known[prefix]; known {
		return prefix
	}
	if len(l.known) == maxLogPrefixes || bearer.CheckPrefix(prefix) != nil {
		return otherPrefixes
	}
	l.known[prefix] = struct{}{}
	return prefix
}

// finish ends the minute, and returns what was dropped in it.
func (l *logLimit) finish() (over []dropped) {
	for source, n := range l.count {
		if n > l.perMinute {
			over = append(over, dropped{source, n - l.perMinute, l.began})
		}
	}
	slices.SortFunc(over, func(a, b dropped) int {
		return cmp.Or(cmp.Compare(a.prefix, b.prefix), cmp.Compare(a.kind, b.kind))
	})
	l.began, l.count, l.known = time.Time{}, nil, nil
	return over
}
