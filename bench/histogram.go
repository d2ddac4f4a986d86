package main

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// histogram counts durations in steps of less than one part in a hundred. Adding to
// it allocates nothing and any number of goroutines may.
type histogram struct {
	counts [(65 - fineBits) << fineBits]atomic.Uint32
	max    atomic.Int64
}

const fineBits = 7 // steps of one part in 128

// step returns which step v belongs to: each nanosecond has its own up to 256, then
// each power of two has 128.
func step(v uint64) int {
	exp := max(0, bits.Len64(v)-fineBits-1)
	return exp<<fineBits + int(v>>exp)
}

// middle returns the middle of a step, in nanoseconds.
func middle(step int) float64 {
	exp := max(0, step>>fineBits-1)
	base := uint64(step-exp<<fineBits) << exp
	return float64(base) + float64(uint64(1)<<exp-1)/2
}

func (h *histogram) add(d time.Duration) {
	d = max(d, 0)
	h.counts[step(uint64(d))].Add(1)
	for {
		m := h.max.Load()
		if int64(d) <= m || h.max.CompareAndSwap(m, int64(d)) {
			return
		}
	}
}

// quantile returns how many nanoseconds the part q of what was added took at most,
// 0 if nothing was added.
func (h *histogram) quantile(q float64) float64 {
	total := uint64(0)
	for i := range h.counts {
		total += uint64(h.counts[i].Load())
	}
	want, seen := uint64(q*float64(total)), uint64(0)
	for i := range h.counts {
		seen += uint64(h.counts[i].Load())
		if seen > want || seen == total && total > 0 {
			return middle(i)
		}
	}
	return 0
}

func (h *histogram) reset() {
	for i := range h.counts {
		h.counts[i].Store(0)
	}
	h.max.Store(0)
}
