package hold

import (
	"container/heap"
	"math"
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
func (s *Scheduler) file(t *heldToken) {
	t.at = min(t.due, t.checkAt, t.againAt)
	if t.place == 0 {
		heap.Push(&s.queue, t)
	} else {
		heap.Fix(&s.queue, int(t.place-1))
	}
}

// setBack shortens what is yet to be waited for, since the clock was set back to now.
func (s *Scheduler) setBack(now instant) {
	for _, t := range s.queue {
		if t.checkAt != noInstant {
			t.checkAt = min(t.checkAt, now.plus(s.cfg.Recheck))
		}
		if t.againAt != noInstant {
			t.againAt = min(t.againAt, now.plus(s.cfg.Poll))
		}
		t.at = min(t.due, t.checkAt, t.againAt)
	}
	heap.Init(&s.queue)
}
