package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"
)

func TestHistogramSteps(t *testing.T) {
	last := -1
	for _, v := range []uint64{0, 1, 127, 128, 255, 256, 257, 258, 511, 512, 1 << 20, 1<<20 + 1<<13, 1 << 40, math.MaxInt64, math.MaxUint64} {
		s := step(v)
		if s < last || s >= len(new(histogram).counts) {
			t.Errorf("%d is in step %d, after %d", v, s, last)
		}
		last = s
		if off := math.Abs(middle(s)-float64(v)) / max(1, float64(v)); off > 0.005 {
			t.Errorf("%d is counted as %v", v, middle(s))
		}
	}
}

// TestHistogramQuantiles holds it against sorting, with a part that is late, added by
// several goroutines.
func TestHistogramQuantiles(t *testing.T) {
	const adders, each = 4, 5_000
	random := rand.New(rand.NewPCG(1, 1))
	var all []float64
	for range adders * each {
		v := 200 + random.ExpFloat64()*300
		if random.IntN(50) == 0 {
			v *= 1000
		}
		all = append(all, math.Floor(v))
	}
	h := new(histogram)
	var done sync.WaitGroup
	for a := range adders {
		done.Go(func() {
			for _, v := range all[a*each : (a+1)*each] {
				h.add(time.Duration(v))
			}
		})
	}
	done.Wait()
	slices.Sort(all)
	for _, q := range []float64{0, 0.5, 0.9, 0.99, 0.999, 1} {
		want := all[min(int(q*float64(len(all))), len(all)-1)]
		if got := h.quantile(q); math.Abs(got-want)/want > 0.01 {
			t.Errorf("quantile %v is %v, want %v", q, got, want)
		}
	}
	if max := float64(h.max.Load()); max != all[len(all)-1] {
		t.Errorf("the longest is %v, want %v", max, all[len(all)-1])
	}
	h.reset()
	if h.quantile(0.5) != 0 || h.max.Load() != 0 {
		t.Error("something is left after reset")
	}
	if n := testing.AllocsPerRun(100, func() { h.add(123) }); n != 0 {
		t.Errorf("adding allocates %v times", n)
	}
}
