// Package loglimit limits how many events of a kind are logged in a minute.
package loglimit

import (
	"cmp"
	"slices"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/internal/bearer"
)

const (
	// MaxPrefixes is how many prefixes have minutes of their own.
	MaxPrefixes = 64

	otherPrefixes = "(others)"
)

// Limit limits how many events of each kind are logged in a minute. Each prefix has minutes of its
// own, because the events of two prefixes may be timed by different clocks.
type Limit struct {
	PerMinute int // negative: any number

	mu      sync.Mutex
	minutes map[string]*minute // by prefix
}

// Event is what a Limit needs to know of an event.
type Event struct {
	Prefix  string
	Kind    uint8
	At      time.Time
	Err     error
	Limited bool // events of its kind are limited
}

// minute is the minute of one prefix.
type minute struct {
	began  time.Time
	counts map[uint8]int
	last   map[uint8]error // the Err of the last event that was dropped
}

// Dropped says how many events of one kind in the minute of a prefix were not logged.
type Dropped struct {
	Kind   uint8
	Prefix string
	N      int
	Since  time.Time
	Last   error // Err of the last of them
}

// Take reports whether e is within its limit. If e says that the minute of its prefix is over, Take
// returns what was dropped in that minute, in the order of the kinds. An event that is not enabled is
// not counted.
func (l *Limit) Take(e *Event, enabled bool) (within bool, over []Dropped) {
	l.mu.Lock()
	defer l.mu.Unlock()
	prefix := l.limitOf(e.Prefix)
	m := l.minutes[prefix]
	if m != nil && m.endedBy(e.At) {
		over = m.dropped(prefix, l.PerMinute)
		delete(l.minutes, prefix)
		m = nil
	}
	if !enabled || l.PerMinute < 0 || !e.Limited {
		return enabled, over
	}
	if m == nil {
		m = l.begin(prefix, e.At)
	}
	m.counts[e.Kind]++
	if m.counts[e.Kind] > l.PerMinute {
		m.last[e.Kind] = e.Err
		return false, over
	}
	return true, over
}

// begin begins a minute of prefix at an instant.
func (l *Limit) begin(prefix string, at time.Time) *minute {
	if l.minutes == nil {
		l.minutes = make(map[string]*minute)
	}
	m := &minute{began: at, counts: make(map[uint8]int), last: make(map[uint8]error)}
	l.minutes[prefix] = m
	return m
}

// limitOf returns the prefix whose minutes apply to prefix: itself, or otherPrefixes for a prefix that
// no token can have, or that comes after too many.
func (l *Limit) limitOf(prefix string) string {
	named := len(l.minutes)
	if l.minutes[otherPrefixes] != nil {
		named--
	}
	if l.minutes[prefix] == nil && (named == MaxPrefixes || bearer.CheckPrefix(prefix) != nil) {
		return otherPrefixes
	}
	return prefix
}

// endedBy reports whether an event at an instant says that the minute is over. After a clock was set
// back by more than a minute, the minute begins at that instant with the counts that it has.
func (m *minute) endedBy(at time.Time) bool {
	since := at.Sub(m.began)
	if since < -time.Minute {
		m.began = at
	}
	return since >= time.Minute
}

// dropped returns what was dropped in the minute, of which perMinute events of each kind were logged.
func (m *minute) dropped(prefix string, perMinute int) (over []Dropped) {
	for kind, n := range m.counts {
		if n > perMinute {
			over = append(over, Dropped{kind, prefix, n - perMinute, m.began, m.last[kind]})
		}
	}
	slices.SortFunc(over, func(a, b Dropped) int { return cmp.Compare(a.Kind, b.Kind) })
	return over
}
