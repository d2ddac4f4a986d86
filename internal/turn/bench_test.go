package turn

import (
	"fmt"
	"sync"
	"testing"

	"github.com/seed-55daa01a/lapse/internal/ratio"
)

// work is about as long as the turn of an Update in memory.
func work(x *uint64) {
	for range 500 {
		*x = *x*6364136223846793005 + 1
	}
}

// crowd has callers take and give the turn times times in all, and work while they have it.
func crowd(callers, times int, take, give func()) {
	var x uint64
	var done sync.WaitGroup
	for range callers {
		done.Go(func() {
			for range times / callers {
				take()
				work(&x)
				give()
			}
		})
	}
	done.Wait()
}

// BenchmarkCrowd is a Turn beside a channel of capacity 1, which hands the turn to the caller that
// has waited longest.
func BenchmarkCrowd(b *testing.B) {
	const times = 4096
	for _, callers := range []int{1, 16, 64, 256} {
		b.Run(fmt.Sprintf("callers=%d/peer=channel", callers), func(b *testing.B) {
			turn, plain := New(), make(chan struct{}, 1)
			ratio.Of(b, 1, func(int) { crowd(callers, times, turn.Take, turn.Give) }, func(int) {
				crowd(callers, times, func() { plain <- struct{}{} }, func() { <-plain })
			})
		})
	}
}
