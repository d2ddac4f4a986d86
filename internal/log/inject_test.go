package log

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"
)

// inject plays histories in which op n and so many after it fail, for every n or every fourth, and checks
// the disk after each op.
func inject(seeds int, lasting int, lies func(h *head, failed *bool, at int64, n int) bool) (unknown, failed int, err error) {
	every := 4 // of the ops fails
	if *images >= 20000 || lies != nil {
		every = 1
	}
	for seed := range seeds {
		for first := 1 + lasting%every; ; first += every {
			r := rand.New(rand.NewPCG(uint64(seed), uint64(first)))
			d := &memory{}
			hit := false
			d.fails = func(n int) bool {
				fails := n >= first && n < first+lasting
				hit = hit || fails
				return fails
			}
			if lies != nil {
				d.lies = func(at int64, n int) bool { return lies(nil, &hit, at, n) }
			}
			h, err := play(r, d, 25, false)
			if err != nil {
				return unknown, failed, fmt.Errorf("seed %d, op %d fails: %w", seed, first, err)
			}
			for _, g := range h.groups {
				switch {
				case g.err == nil:
				case errors.Is(g.err, ErrUnknown):
					unknown++
				case errors.Is(g.err, errDisk), errors.Is(g.err, ErrFull):
					failed++
				default:
					return unknown, failed, fmt.Errorf("seed %d, op %d fails: %w", seed, first, g.err)
				}
			}
			c := &crash{history: h, r: r}
			for n := 0; n <= len(d.ops); n++ {
				if n < first && n < len(d.ops) {
					c.step(d.ops[n])
					continue
				}
				if err := c.check(n); err != nil {
					return unknown, failed, fmt.Errorf("seed %d, op %d fails, image before op %d: %w", seed, first, n, err)
				}
				if n < len(d.ops) {
					c.step(d.ops[n])
				}
			}
			if first > len(d.ops) {
				break
			}
		}
	}
	return unknown, failed, nil
}

// Whichever write fails, and whatever of it reached the disk: what was acknowledged
// counts, what failed never does, and an unknown group may until the next group.
func TestInjected(t *testing.T) {
	for _, lasting := range []int{1, 2, 3, 7} {
		t.Run(fmt.Sprint(lasting), func(t *testing.T) {
			unknown, failed, err := inject(max(1, *images/3000), lasting, nil)
			if err != nil {
				t.Fatal(err)
			}
			if failed == 0 || lasting > 1 && unknown == 0 {
				t.Fatalf("%d groups unknown, %d failed", unknown, failed)
			}
			t.Logf("%d groups unknown, %d failed", unknown, failed)
		})
	}
}

// A log that does not void what failed is found: the header after a failed write is not
// written.
func TestInjectedPlanted(t *testing.T) {
	_, _, err := inject(20, 1, func(_ *head, failed *bool, at int64, n int) bool {
		lie := *failed && n == block && (at-block)%testSlot == 0
		if lie {
			*failed = false
		}
		return lie
	})
	if err == nil {
		t.Fatal("nothing was found")
	}
	t.Log(err)
}
