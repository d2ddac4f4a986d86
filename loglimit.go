package lapse

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
)

const (
	defaultPerMinute = 10 // LogOptions.PerMinute
	maxLogPrefixes   = 64 // how many prefixes have minutes of their own
	otherPrefixes    = "(others)"
)

// limitedKind reports whether LogEvents limits the events of kind.
func limitedKind(kind EventKind) bool {
	switch kind {
	case EventRejected, EventSpent, EventAhead, EventRenewalFailed, EventCouldNotTell:
		return true
	}
	return false
}

// logLimit limits how many events are logged in a minute. Each prefix has minutes of its own, because
// the Managers of two prefixes may have different Clocks.
type logLimit struct {
	perMinute int // negative: any number

	mu      sync.Mutex
	minutes map[string]*logMinute // by prefix
}

// logMinute is the minute of one prefix.
type logMinute struct {
	began  time.Time
	counts map[EventKind]int
	last   map[EventKind]error // the Err of the last event that was dropped
}

// dropped says how many events of one kind in the minute of a prefix were not logged.
type dropped struct {
	kind   EventKind
	prefix string
	n      int
	since  time.Time
	last   error // Err of the last of them
}

// take reports whether e is within its limit. If e says that the minute of its prefix is over, take
// returns what was dropped in that minute, in the order of the kinds. An event that is not enabled is
// not counted.
func (l *logLimit) take(e *Event, enabled bool) (within bool, over []dropped) {
	l.mu.Lock()
	defer l.mu.Unlock()
	prefix := l.limitOf(e.Prefix)
	minute := l.minutes[prefix]
	if minute != nil && minute.endedBy(e.At) {
		over = minute.dropped(prefix, l.perMinute)
		delete(l.minutes, prefix)
		minute = nil
	}
	if !enabled || l.perMinute < 0 || !limitedKind(e.Kind) {
		return enabled, over
	}
	if minute == nil {
		minute = l.begin(prefix, e.At)
	}
	minute.counts[e.Kind]++
	if minute.counts[e.Kind] > l.perMinute {
		minute.last[e.Kind] = e.Err
		return false, over
	}
	return true, over
}

// begin begins a minute of prefix at an instant.
func (l *logLimit) begin(prefix string, at time.Time) *logMinute {
	if l.minutes == nil {
		l.minutes = make(map[string]*logMinute)
	}
	minute := &logMinute{began: at, counts: make(map[EventKind]int), last: make(map[EventKind]error)}
	l.minutes[prefix] = minute
	return minute
}

// limitOf returns the prefix whose minutes apply to prefix: itself, or otherPrefixes for a prefix that
// no Manager can have, or that comes after too many.
func (l *logLimit) limitOf(prefix string) string {
	named := len(l.minutes)
	if l.minutes[otherPrefixes] != nil {
		named--
	}
	if l.minutes[prefix] == nil && (named == maxLogPrefixes || bearer.CheckPrefix(prefix) != nil) {
		return otherPrefixes
	}
	return prefix
}

// endedBy reports whether an event at an instant says that the minute is over. After a clock was set
// back by more than a minute, the minute begins at that instant with the counts that it has.
func (m *logMinute) endedBy(at time.Time) bool {
	since := at.Sub(m.began)
	if since < -time.Minute {
		m.began = at
	}
	return since >= time.Minute
}

// dropped returns what was dropped in the minute, of which perMinute events of each kind were logged.
func (m *logMinute) dropped(prefix string, perMinute int) (over []dropped) {
	for kind, n := range m.counts {
		if n > perMinute {
			over = append(over, dropped{kind, prefix, n - perMinute, m.began, m.last[kind]})
		}
	}
	slices.SortFunc(over, func(a, b dropped) int { return cmp.Compare(a.kind, b.kind) })
	return over
}
