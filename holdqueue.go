package lapse

import (
	"container/heap"
	"math"
	"slices"
	"time"
)

// instant is in Unix milliseconds: there may be a great many of them.
type instant int64

const (
	unknown   instant = math.MinInt64
	noInstant instant = math.MaxInt64
)

func at(t time.Time) instant { return instant(t.UnixMilli()) }

func (i instant) time() time.Time { return time.UnixMilli(int64(i)).UTC() }

func (i instant) plus(d time.Duration) instant { return i + instant(d.Milliseconds()) }

func (i instant) sub(j instant) time.Duration { return time.Duration(i-j) * time.Millisecond }

// holdQueue is a heap of held tokens by what is next.
type holdQueue []*heldToken

func (q holdQueue) Len() int           { return len(q) }
func (q holdQueue) Less(i, j int) bool { return q[i].at < q[j].at }
func (q holdQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].place, q[j].place = int32(i+1), int32(j+1)
}

// Push implements heap.Interface.
func (q *holdQueue) Push(x any) {
	t := x.(*heldToken)
	*q = append(*q, t)
	t.place = int32(len(*q))
}

// Pop implements heap.Interface.
func (q *holdQueue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q, t.place = (*q)[:last], 0
	return t
}

// file puts t where its next instant belongs.
func (s *holds) file(t *heldToken) {
	t.at = min(t.due, t.checkAt, t.againAt)
	if t.place == 0 {
		heap.Push(&s.queue, t)
	} else {
		heap.Fix(&s.queue, int(t.place-1))
	}
}

// setBack shortens what is yet to be waited for, since the clock was set back to now.
func (s *holds) setBack(m *Manager, now instant) {
	for _, t := range s.queue {
		if t.checkAt != noInstant {
			t.checkAt = min(t.checkAt, now.plus(m.recheck))
		}
		if t.againAt != noInstant {
			t.againAt = min(t.againAt, now.plus(m.poll))
		}
		t.at = min(t.due, t.checkAt, t.againAt)
	}
	heap.Init(&s.queue)
}

// holdTimer is a timer of Config.Clock that has not fired.
type holdTimer struct {
	at    instant // when it fires, at the latest
	fires <-chan time.Time
}

const (
	// armAttempts bounds how often a timer is set since the clock went on meanwhile: some
	// clocks do whenever they are asked.
	armAttempts = 3

	// farthest is the longest that a timer is set for: a Duration cannot say much more.
	farthest = 365 * 24 * time.Hour
)

// timer returns a timer that fires at next or before, or nil if next is noInstant. due
// reports that next has come. Nothing cancels a timer of a Clock, and a mock stops at
// each of them, so one is made only where none of s fires early enough.
func (s *holds) timer(m *Manager, next instant) (t *holdTimer, due bool) {
	if next == noInstant {
		return nil, false
	}
	for range armAttempts {
		now := at(m.now())
		if next <= now {
			return nil, true
		}
		if t = s.soonest(now); t != nil && t.at <= next {
			return t, false
		}
		wait := min(next-now, instant(farthest.Milliseconds()))
		fires := m.clock.After(wait.sub(0))
		t = &holdTimer{at: at(m.now()) + wait, fires: fires} // a mock may have been moved since now
		s.keep(t)
	}
	return t, false
}

func (s *holds) keep(t *holdTimer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers = append(s.timers, t)
}

// soonest returns the timer that fires first, or nil. It forgets those that should have
// fired by now: the clock was set.
func (s *holds) soonest(now instant) (first *holdTimer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers = slices.DeleteFunc(s.timers, func(t *holdTimer) bool { return t.at <= now })
	for _, t := range s.timers {
		if first == nil || t.at < first.at {
			first = t
		}
	}
	return first
}

// fired forgets t, which has fired. If that woke r, and connections are served by
// another run meanwhile, the other one is woken.
func (s *holds) fired(t *holdTimer, r *holdRun) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.timers = slices.DeleteFunc(s.timers, func(other *holdTimer) bool { return other == t })
	if s.run != nil && s.run != r {
		ring(s.run.wake)
	}
}
