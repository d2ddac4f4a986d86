package main

import (
	"context"
	"errors"
	"math"
	"slices"
	"testing"
	"testing/synctest"
	"time"
)

func TestSpread(t *testing.T) {
	for _, c := range []struct {
		values []float64
		want   spread
	}{
		{[]float64{7}, spread{7, 7, 7}},
		{[]float64{2, 1}, spread{1.25, 1.5, 1.75}},
		{[]float64{3, 1, 2}, spread{1.5, 2, 2.5}},
		{[]float64{4, 1, 3, 2}, spread{1.75, 2.5, 3.25}},
		{[]float64{5, 1, 4, 2, 1e9}, spread{2, 4, 5}}, // one turn that was disturbed
	} {
		before := slices.Clone(c.values)
		if got := spreadOf(c.values); got != c.want {
			t.Errorf("of %v: %v, want %v", c.values, got, c.want)
		}
		if !slices.Equal(before, c.values) {
			t.Errorf("%v were moved", before)
		}
	}
	if s := spreadOf(nil); !math.IsNaN(float64(s.Median)) {
		t.Errorf("of nothing: %v", s)
	}
}

// machineOf plays turns on a machine that is planted: what one operation of a side
// costs in nanoseconds, times what the machine is slowed down by at the time.
type machineOf struct {
	costs  map[string]float64
	slow   func(now float64) float64
	now    float64
	played []string
}

func (m *machineOf) play(s *side, _, ops int) (turn, error) {
	m.played = append(m.played, s.name)
	took := 0.0
	for range ops {
		took += m.costs[s.name] * m.slow(m.now+took)
	}
	m.now += took
	return turn{ops: ops, elapsed: time.Duration(took)}, nil
}

// TestAlternate plants a machine that becomes ten times slower during the run, and a
// peer that does the same work twice. Turns find it out; one side after the other
// does not.
func TestAlternate(t *testing.T) {
	const rounds = 50
	slowing := func(now float64) float64 { return 1 + now/1e6 }
	for _, c := range []struct {
		name string
		draw func(n int) []int
		good bool
	}{
		{"in turns", shuffled(), true},
		{"always the same one first", func(n int) []int { return []int{0, 1} }, true},
	} {
		m := &machineOf{costs: map[string]float64{"lapse": 100, "twice": 200}, slow: slowing}
		sides := []*side{{name: "lapse", ops: 100}, {name: "twice", ops: 100}}
		turns, err := alternate(t.Context(), sides, rounds, c.draw, func() {}, m.play)
		if err != nil {
			t.Fatal(err)
		}
		ratio := spreadOf(divide(perOp.each(turns[0]), perOp.each(turns[1]))).Median
		if math.Abs(float64(ratio)-0.5) > 0.02 {
			t.Errorf("%s: the ratio is %v, want about 0.5", c.name, ratio)
		}
	}

	m := &machineOf{costs: map[string]float64{"lapse": 100, "twice": 200}, slow: slowing}
	var medians []float64
	for _, s := range []*side{{name: "lapse"}, {name: "twice"}} {
		var times []float64
		for range rounds {
			turn, _ := m.play(s, 0, 100)
			times = append(times, turn.perOp())
		}
		medians = append(medians, float64(spreadOf(times).Median))
	}
	if ratio := medians[0] / medians[1]; math.Abs(ratio-0.5) < 0.02 {
		t.Errorf("one after the other the ratio is %v: this machine would not catch it", ratio)
	}
}

// TestAlternateOrder wants every side once in each round, in many orders, each after
// a call of before.
func TestAlternateOrder(t *testing.T) {
	const rounds = 60
	m := &machineOf{slow: func(float64) float64 { return 1 }}
	sides := []*side{{name: "a", ops: 1}, {name: "b", ops: 2}, {name: "c", ops: 3}}
	calls := 0
	turns, err := alternate(t.Context(), sides, rounds, shuffled(), func() { calls++ }, m.play)
	if err != nil {
		t.Fatal(err)
	}
	first := map[string]int{}
	for round := range slices.Chunk(m.played, 3) {
		first[round[0]]++
		if sorted := slices.Sorted(slices.Values(round)); !slices.Equal(sorted, []string{"a", "b", "c"}) {
			t.Fatalf("a round of %v", round)
		}
	}
	for name, n := range first {
		if n < rounds/6 || n > rounds/2 {
			t.Errorf("%s was first in %d of %d rounds", name, n, rounds)
		}
	}
	if calls != 3*rounds {
		t.Errorf("before was called %d times", calls)
	}
	for i, s := range sides {
		if len(turns[i]) != rounds || s.next != rounds*s.ops {
			t.Errorf("%s: %d turns, %d operations", s.name, len(turns[i]), s.next)
		}
	}
}

func TestAlternateStops(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	s := &side{name: "a", ops: 1}
	played := 0
	_, err := alternate(ctx, []*side{s}, 10, shuffled(), func() {}, func(*side, int, int) (turn, error) {
		if played++; played == 3 {
			cancel()
		}
		return turn{}, nil
	})
	if !errors.Is(err, context.Canceled) || played != 3 {
		t.Errorf("%v after %d turns", err, played)
	}
	bad := errors.New("planted")
	if _, err := alternate(t.Context(), []*side{s}, 10, shuffled(), func() {}, func(*side, int, int) (turn, error) { return turn{}, bad }); !errors.Is(err, bad) {
		t.Errorf("%v instead of the side's error", err)
	}
	s.prepare = func(int, int) error { return bad }
	if _, err := s.play((&machineOf{}).play, 1); !errors.Is(err, bad) {
		t.Errorf("%v instead of the error of its preparation", err)
	}
}

func TestCalibrate(t *testing.T) {
	for _, c := range []struct {
		cost    float64 // ns
		callers int
		want    int
	}{
		{100, 1, 10_000},
		{1e6, 1, 1},
		{5e6, 1, 1}, // one operation is longer than a turn
		{1000, 64, 1024},
		{1e6, 64, 64},
	} {
		m := &machineOf{costs: map[string]float64{"a": c.cost}, slow: func(float64) float64 { return 1 }}
		s := &side{name: "a"}
		if err := s.calibrate(m.play, time.Millisecond, c.callers); err != nil {
			t.Fatal(err)
		}
		if s.ops != c.want {
			t.Errorf("%v ns, %d callers: turns of %d operations, want %d", c.cost, c.callers, s.ops, c.want)
		}
	}
}

func TestQuantity(t *testing.T) {
	x := turn{ops: 10, elapsed: time.Microsecond, p50: 70, p99: 300}
	for q, want := range map[quantity]float64{perOp: 100, rate: 1e7, p50: 70, p99: 300} {
		if got := q.of(x); math.Abs(got-want) > 1e-6*want {
			t.Errorf("%s is %v, want %v", q, got, want)
		}
	}
}

// TestSettle plants a side that puts work off: 1 ms of each of its operations is done at
// the end of a turn. The turn is as long as all of that.
func TestSettle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		owed, settled := 0, 0
		s := &side{name: "a", op: func(int) error { owed++; time.Sleep(time.Millisecond); return nil }}
		s.settle = func() error {
			time.Sleep(time.Duration(owed) * time.Millisecond)
			owed = 0
			settled++
			return nil
		}
		if err := s.calibrate(oneCaller, 40*time.Millisecond, 1); err != nil {
			t.Fatal(err)
		}
		if s.ops != 40 || owed != 0 || settled != 1 {
			t.Errorf("turns of %d operations, %d of which were not settled; settled %d times", s.ops, owed, settled)
		}
		got, err := s.play(oneCaller, 10)
		if want := (turn{ops: 10, elapsed: 20 * time.Millisecond}); err != nil || got != want || owed != 0 {
			t.Errorf("%+v, %v, %d owed; want %+v", got, err, owed, want)
		}
		bad := errors.New("planted")
		s.settle = func() error { return bad }
		if _, err := s.play(oneCaller, 1); !errors.Is(err, bad) {
			t.Errorf("%v instead of the error of settling", err)
		}
		if err := s.calibrate(oneCaller, time.Millisecond, 1); !errors.Is(err, bad) {
			t.Errorf("%v instead of the error of settling once it is calibrated", err)
		}
	})
}
