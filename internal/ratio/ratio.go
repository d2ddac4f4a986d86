// Package ratio lets a benchmark compare the cost of two functions. On a shared machine a time by
// itself says little. Two functions that run by turns in one benchmark meet the same noise, so that
// the ratio of their times is reliable.
package ratio

import (
	"slices"
	"testing"
	"time"
)

// Of runs n calls of thing and n calls of peer by turns until the benchmark has run for long
// enough. It reports three medians: thing-ns and peer-ns, the time of one call, and ratio, the
// quotient of the times of neighbouring turns. The argument of both functions is the number of the
// call.
func Of(b *testing.B, n int, thing, peer func(i int)) {
	b.Helper()
	clock := func(f func(int), from int) float64 {
		begin := time.Now()
		for i := range n {
			f(from + i)
		}
		return float64(time.Since(begin)) / float64(n)
	}
	clock(thing, 0) // warm
	clock(peer, 0)
	var things, peers, ratios []float64
	for turn := 1; b.Loop(); turn++ {
		t, p := clock(thing, turn*n), clock(peer, turn*n)
		things, peers, ratios = append(things, t), append(peers, p), append(ratios, t/p)
	}
	b.ReportMetric(0, "ns/op") // a turn's time says nothing
	b.ReportMetric(median(things), "thing-ns")
	b.ReportMetric(median(peers), "peer-ns")
	b.ReportMetric(median(ratios), "ratio")
}

func median(v []float64) float64 {
	slices.Sort(v)
	return v[len(v)/2]
}
