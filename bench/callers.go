package main

import (
	"runtime"
	"sync"
	"time"
)

// oneCaller plays a turn in a plain loop.
func oneCaller(s *side, from, ops int) (turn, error) {
	begin := time.Now()
	for i := from; i < from+ops; i++ {
		if err := s.op(i); err != nil {
			return turn{}, err
		}
	}
	return turn{ops: ops, elapsed: time.Since(begin)}, nil
}

// manyCallers returns a player of turns in which callers goroutines, all of which
// wait at a gate, share the operations evenly. The player times every operation: the
// quantiles of a turn are those of its single operations.
func manyCallers(callers int) player {
	h := new(histogram)
	return func(s *side, from, ops int) (turn, error) {
		h.reset()
		each := ops / callers
		gate := make(chan struct{})
		var arrived, done sync.WaitGroup
		errs := make([]error, callers)
		for c := range callers {
			arrived.Add(1)
			done.Go(func() {
				arrived.Done()
				<-gate
				errs[c] = timed(s, from+c*each, each, h)
			})
		}
		arrived.Wait()
		begin := time.Now()
		close(gate)
		done.Wait()
		t := turn{ops: each * callers, elapsed: time.Since(begin), p50: h.quantile(0.5), p99: h.quantile(0.99)}
		for _, err := range errs {
			if err != nil {
				return t, err
			}
		}
		return t, nil
	}
}

// timed does ops operations and adds the time of each to h.
func timed(s *side, from, ops int, h *histogram) error {
	for i := from; i < from+ops; i++ {
		begin := time.Now()
		if err := s.op(i); err != nil {
			return err
		}
		h.add(time.Since(begin))
	}
	return nil
}

// together does n things with the given number of goroutines.
func together(workers, n int, thing func(i int) error) error {
	var next int
	var first error
	var mu sync.Mutex
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		next++
		return next - 1, next <= n && first == nil
	}
	var done sync.WaitGroup
	for range min(workers, n) {
		done.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := thing(i); err != nil {
					mu.Lock()
					first = err
					mu.Unlock()
					return
				}
			}
		})
	}
	done.Wait()
	return first
}

// allocations returns how many allocations an operation of s makes, whole ones, as
// testing.AllocsPerRun counts them: the least of five tries, because goroutines of
// a store allocate, too.
func allocations(s *side, calls int) (int, error) {
	least := -1
	for range 5 {
		var before, after runtime.MemStats
		if s.prepare != nil {
			if err := s.prepare(s.next, calls); err != nil {
				return 0, err
			}
		}
		runtime.ReadMemStats(&before)
		_, err := oneCaller(s, s.next, calls)
		runtime.ReadMemStats(&after)
		s.next += calls
		if err != nil {
			return 0, err
		}
		n := int(after.Mallocs-before.Mallocs) / calls
		if least < 0 || n < least {
			least = n
		}
	}
	return least, nil
}
