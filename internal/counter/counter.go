// Package counter counts what happens, on any number of processors at once.
package counter

import (
	"runtime"
	"sync/atomic"
	"unsafe"
)

// maxStripes is how many stripes a Table has at most.
const maxStripes = 64

// lineLen is how many counters a stripe is rounded up to: 128 bytes, which processors fetch
// together.
const lineLen = 16

// Table is a row of counters, in stripes. Each stripe has every counter once, and the value of a
// counter is the sum over the stripes. Each goroutine adds to a stripe that it seldom shares, so that
// processors share no line of their caches. BenchmarkStripes: two processors then take 0.3 of the
// time. The first addition to a stripe makes it, so that a Table of one goroutine has one. A Table is
// safe for concurrent use. A nil Table counts nothing.
type Table struct {
	stripes []atomic.Pointer[[]atomic.Uint64] // a power of two; nil before the first addition
	keys    int                               // how many counters a stripe has
}

// New returns a Table of counters that are zero, with the keys 0 to keys-1. It has at least four
// stripes for each processor, and no more than maxStripes.
func New(keys int) *Table {
	stripes := 4
	for stripes < 4*runtime.GOMAXPROCS(0) && stripes < maxStripes {
		stripes *= 2
	}
	return &Table{make([]atomic.Pointer[[]atomic.Uint64], stripes), keys}
}

// Add adds n to the counter of key.
func (t *Table) Add(key int, n uint64) {
	if t != nil {
		t.add(key, here(), n)
	}
}

// add is Add to a stripe of the caller's choice.
func (t *Table) add(key, stripe int, n uint64) {
	at := &t.stripes[stripe&(len(t.stripes)-1)]
	cells := at.Load()
	if cells == nil {
		cells = t.fill(at)
	}
	(*cells)[key].Add(n)
}

// fill makes the stripe at the place, unless another goroutine has, and returns it.
func (t *Table) fill(at *atomic.Pointer[[]atomic.Uint64]) *[]atomic.Uint64 {
	cells := make([]atomic.Uint64, (t.keys+lineLen-1)/lineLen*lineLen)
	at.CompareAndSwap(nil, &cells)
	return at.Load()
}

// here returns a number below maxStripes that stays the same for a goroutine, mostly, and differs
// between most goroutines: a hash of the place of the stack, since stacks have 2 KiB or more.
// BenchmarkHoldUse/procs=2: with stripes by the ID of the token, two processors take 1.7 times as
// long, because each stripe is then written by both.
func here() int {
	var mark byte
	return int(uint64(uintptr(unsafe.Pointer(&mark))>>11) * 0x9E3779B97F4A7C15 >> 58)
}

// Sums returns the value of every counter by its key. A counter that is added to meanwhile is read
// before or after that. Of a nil Table Sums returns nil.
func (t *Table) Sums() []uint64 {
	if t == nil {
		return nil
	}
	sums := make([]uint64, t.keys)
	for i := range t.stripes {
		if cells := t.stripes[i].Load(); cells != nil {
			for key := range sums {
				sums[key] += (*cells)[key].Load()
			}
		}
	}
	return sums
}
