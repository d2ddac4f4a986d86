package main

import (
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func quickWorld(t *testing.T) *world {
	t.Helper()
	w, err := newWorld(t.Context(), quickPlan(), t.TempDir(), io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := w.close(); err != nil {
			t.Error(err)
		}
	})
	return w
}

// TestOrder wants every place once, and the tokens of no lot in the first ones.
func TestOrder(t *testing.T) {
	w := quickWorld(t)
	for _, n := range []int{w.plan.small(), w.plan.large()} {
		order := w.order(n)
		sorted := slices.Sorted(slices.Values(order))
		for i := range n {
			if len(sorted) != n || sorted[i] != i {
				t.Fatalf("of %d: %v", n, order)
			}
		}
		for i, place := range order {
			if dies := w.grant(n)(i).TTL != 0; dies == (place < w.lasting(n)) && n == w.plan.large() {
				t.Errorf("token %d dies: %v, and is checked in place %d", i, dies, place)
			}
		}
	}
}

// TestOnce wants one store for all who ask, and none after release.
func TestOnce(t *testing.T) {
	w := quickWorld(t)
	made, closed := 0, 0
	ask := func() int {
		n, err := once(w, "thing", func() (int, error) {
			made++
			w.atRelease(func() error { closed++; return nil })
			return made, nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if first, second := ask(), ask(); first != 1 || second != 1 || closed != 0 {
		t.Errorf("made %d times, closed %d times", made, closed)
	}
	if err := w.release(); err != nil || closed != 1 || ask() != 2 {
		t.Errorf("%v; closed %d times, made %d times", err, closed, made)
	}
	bad := errors.New("planted")
	if _, err := once(w, "other", func() (int, error) { return 0, bad }); !errors.Is(err, bad) {
		t.Error(err)
	}
}

func TestTogether(t *testing.T) {
	const n = 1_000
	var done [n]atomic.Int32
	if err := together(8, n, func(i int) error { done[i].Add(1); return nil }); err != nil {
		t.Fatal(err)
	}
	for i := range done {
		if done[i].Load() != 1 {
			t.Fatalf("%d was done %d times", i, done[i].Load())
		}
	}
	bad := errors.New("planted")
	var calls atomic.Int32
	err := together(1, n, func(i int) error {
		if calls.Add(1); i == 3 {
			return bad
		}
		return nil
	})
	if !errors.Is(err, bad) || calls.Load() != 4 {
		t.Errorf("%v after %d calls", err, calls.Load())
	}
}

// TestManyCallers wants each operation once, and the error of any of them.
func TestManyCallers(t *testing.T) {
	const callers, each = 8, 50
	var done [callers*each + 10]atomic.Int32
	s := &side{op: func(i int) error { done[i].Add(1); return nil }}
	got, err := manyCallers(callers)(s, 10, callers*each)
	if err != nil || got.ops != callers*each || got.p99 < got.p50 {
		t.Errorf("%+v, %v", got, err)
	}
	for i := range done {
		if want := int32(min(1, i/10)); done[i].Load() != want {
			t.Fatalf("%d was done %d times", i, done[i].Load())
		}
	}
	bad := errors.New("planted")
	s.op = func(i int) error {
		if i == 77 {
			return bad
		}
		return nil
	}
	if _, err := manyCallers(callers)(s, 0, callers*each); !errors.Is(err, bad) {
		t.Errorf("%v instead of the error of one operation", err)
	}
}

func TestAllocations(t *testing.T) {
	var kept [][]byte
	for want := range 4 {
		s := &side{op: func(int) error {
			for range want {
				kept = append(kept[:0], make([]byte, 100))
			}
			return nil
		}}
		kept = make([][]byte, 0, 1)
		if got, err := allocations(s, 200); got != want || err != nil {
			t.Errorf("counted %d allocations, %v; want %d", got, err, want)
		}
	}
}

// TestWatch plants a store that stands still for 20 ms, once. Who checked one token
// after the other would meet that once in some thousand checks; readers on a
// schedule count everybody who would have had to wait.
func TestWatch(t *testing.T) {
	for _, still := range []time.Duration{0, 20 * time.Millisecond} {
		synctest.Test(t, func(t *testing.T) {
			begin := time.Now()
			check := func(int) error {
				if since := time.Since(begin); since >= 50*time.Millisecond {
					time.Sleep(time.Until(begin.Add(50*time.Millisecond + still)))
				}
				return nil
			}
			h, err := watch(readers, check, func() error { time.Sleep(time.Second); return nil })
			if err != nil {
				t.Fatal(err)
			}
			late := h.quantile(0.99)
			if (late > 1e6) != (still > 0) {
				t.Errorf("it stood still for %v, and the p99 is %v", still, time.Duration(late))
			}
		})
	}
	bad := errors.New("planted")
	if _, err := watch(readers, func(int) error { return bad }, func() error { return nil }); !errors.Is(err, bad) {
		t.Errorf("%v instead of the reader's error", err)
	}
	if _, err := watch(readers, func(int) error { return nil }, func() error { return bad }); !errors.Is(err, bad) {
		t.Errorf("%v instead of the error of what was watched", err)
	}
}
