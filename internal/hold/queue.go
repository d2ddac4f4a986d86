package hold

import (
	"container/heap"
	"math"
	"time"
)

// instant is a time in Unix milliseconds. It takes a third of the memory of a time.Time,
// and each token has several.
type instant int64

const (
	unknown instant = math.MinInt64 // of an expiry that has not been read
	never   instant = math.MaxInt64
)

func instantOf(t time.Time) instant { return instant(t.UnixMilli()) }

func (i instant) time() time.Time { return time.UnixMilli(int64(i)).UTC() }

func (i instant) plus(d time.Duration) instant { return i + instant(d.Milliseconds()) }

func (i instant) sub(j instant) time.Duration { return time.Duration(i-j) * time.Millisecond }

// dueQueue is a heap of tokens. The token with the earliest next instant is the first.
type dueQueue []*token

func (q dueQueue) Len() int           { return len(q) }
func (q dueQueue) Less(i, j int) bool { return q[i].next < q[j].next }
func (q dueQueue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].position, q[j].position = int32(i+1), int32(j+1)
}

// Push implements heap.Interface.
func (q *dueQueue) Push(x any) {
	t := x.(*token)
	*q = append(*q, t)
	t.position = int32(len(*q))
}

// Pop implements heap.Interface.
func (q *dueQueue) Pop() any {
	last := len(*q) - 1
	t := (*q)[last]
	(*q)[last] = nil
	*q, t.position = (*q)[:last], 0
	return t
}

// schedule moves t to its place in the queue, or puts t there. It wakes the tick loop if t is
// now the first in the queue.
func (s *Scheduler) schedule(t *token) {
	t.next = s.dueAt(t)
	if t.position == 0 {
		heap.Push(&s.queue, t)
	} else {
		heap.Fix(&s.queue, int(t.position-1))
	}
	if s.queue[0] == t {
		signal(s.run.wake)
	}
}

// dueAt returns when t is to be checked or read, or has expired.
func (s *Scheduler) dueAt(t *token) instant {
	at := min(t.expires, t.checkAt, t.rereadAt)
	if w, ok := s.warnings[t]; ok {
		at = min(at, w.at)
	}
	return at
}

// clockSetBack shortens the waits for checks, rereads and warnings after the time went back to now.
// Without it they would be late by as much as the time went back.
func (s *Scheduler) clockSetBack(now instant) {
	for _, t := range s.queue {
		if t.checkAt != never {
			t.checkAt = min(t.checkAt, now.plus(s.cfg.Recheck))
		}
		if t.rereadAt != never {
			t.rereadAt = min(t.rereadAt, now.plus(s.cfg.Poll))
		}
		if w, ok := s.warnings[t]; ok && w.read {
			s.warnings[t] = warning{at: min(w.at, now.plus(warnPatience)), read: true}
		}
		t.next = s.dueAt(t)
	}
	heap.Init(&s.queue)
}
