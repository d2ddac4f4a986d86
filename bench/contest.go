package main

import (
	"context"
	"math/rand/v2"
	"runtime"
	"runtime/debug"
	"slices"
	"time"
)

// experiment measures rows of the table.
type experiment interface {
	about() group
	rows() []row
	// run measures the given rows, some of its own, and returns the results in
	// their order, and the figures of the sides if it has some.
	run(ctx context.Context, w *world, rows []row) ([]result, []sideFigures, error)
}

// contest is an experiment in which several sides take turns at the same thing.
type contest struct {
	group  group
	pairs  []row
	rounds int
	turn   time.Duration
	ops    int  // operations in each turn; 0: as many as fill it
	timed  bool // time every operation: p50 and p99

	// collected has every turn begin with a full collection, and include the time of the
	// collector. Where collected is false and there is one caller, the collector does not
	// run: it would mark the stores of all sides in the turn of one side.
	collected bool

	// side makes the side of that name. Only those that the rows ask for are made.
	side func(w *world, name string) (*side, error)
}

// pace sets the turns of a contest of one caller who does something short.
func (c *contest) pace(p plan, collected bool) {
	c.rounds, c.turn = p.rounds, p.turn
	if collected {
		c.rounds, c.turn, c.collected = p.longRounds, p.longTurn, true
	}
}

func (c *contest) about() group { return c.group }
func (c *contest) rows() []row  { return c.pairs }

func (c *contest) run(ctx context.Context, w *world, rows []row) ([]result, []sideFigures, error) {
	sides, err := c.sides(w, rows)
	if err != nil {
		return nil, nil, err
	}
	play := player(oneCaller)
	if c.timed {
		play = manyCallers(c.group.Callers)
	}
	allocs := map[string]int{}
	for _, r := range rows {
		s := sides[named(sides, r.lapse)]
		if _, done := allocs[s.name]; r.allocs != uncounted && !done {
			if allocs[s.name], err = allocations(s, w.plan.allocCalls); err != nil {
				return nil, nil, err
			}
		}
	}
	turns, err := c.play(ctx, sides, play)
	if err != nil {
		return nil, nil, err
	}
	return c.results(rows, sides, turns, allocs), c.figures(sides, turns), nil
}

// play calibrates the sides and lets them take turns. One caller has one processor:
// on a second one the collector would clear up after it for nothing.
func (c *contest) play(ctx context.Context, sides []*side, play player) ([][]turn, error) {
	runtime.GC()
	if !c.timed {
		defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
		if !c.collected {
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
		}
	}
	for _, s := range sides {
		if s.ops = c.ops; s.ops == 0 {
			if err := s.calibrate(play, c.turn, c.group.Callers); err != nil {
				return nil, err
			}
		}
	}
	before := func() {}
	if c.collected {
		before = runtime.GC
	}
	return alternate(ctx, sides, c.rounds, shuffled(), before, play)
}

// shuffled draws orders, the same ones in every run.
func shuffled() func(n int) []int { return rand.New(rand.NewPCG(1, 2)).Perm }

// sides makes every side that the rows name, each once.
func (c *contest) sides(w *world, rows []row) ([]*side, error) {
	var sides []*side
	for _, r := range rows {
		for _, name := range []string{r.lapse, r.peer} {
			if name == "" || named(sides, name) >= 0 {
				continue
			}
			s, err := c.side(w, name)
			if err != nil {
				return nil, err
			}
			s.name = name
			sides = append(sides, s)
		}
	}
	return sides, nil
}

func named(sides []*side, name string) int {
	return slices.IndexFunc(sides, func(s *side) bool { return s.name == name })
}

// results compares the turns of the two sides of each row.
func (c *contest) results(rows []row, sides []*side, turns [][]turn, allocs map[string]int) []result {
	var all []result
	for _, r := range rows {
		lapse := r.of.each(turns[named(sides, r.lapse)])
		var peer []float64
		if r.peer != "" {
			peer = r.of.each(turns[named(sides, r.peer)])
		}
		res := r.compare(r.of.unit(), lapse, peer)
		if n, ok := allocs[r.lapse]; ok && r.allocs != uncounted {
			res.Allocs = &n
		}
		if r.of == rate {
			own := turns[named(sides, r.lapse)]
			half, tail := spreadOf(p50.each(own)).Median, spreadOf(p99.each(own)).Median
			res.Note = "p50 " + humane(float64(half), "ns") + ", p99 " + humane(float64(tail), "ns")
		}
		all = append(all, r.judge(res))
	}
	return all
}

// figures returns the figures of the sides, for the charts.
func (c *contest) figures(sides []*side, turns [][]turn) []sideFigures {
	var all []sideFigures
	for i, s := range sides {
		f := sideFigures{Side: s.name, NS: spreadOf(perOp.each(turns[i])), OpsPerTurn: turns[i][0].ops}
		if c.timed {
			half, tail := spreadOf(p50.each(turns[i])).Median, spreadOf(p99.each(turns[i])).Median
			f.P50, f.P99 = &half, &tail
		}
		all = append(all, f)
	}
	return all
}

// measurement is an experiment that is no contest: its run measures the rows.
type measurement struct {
	group   group
	lines   []row
	measure func(ctx context.Context, w *world, rows []row) ([]result, error)
}

func (m *measurement) about() group { return m.group }
func (m *measurement) rows() []row  { return m.lines }

func (m *measurement) run(ctx context.Context, w *world, rows []row) ([]result, []sideFigures, error) {
	runtime.GC()
	results, err := m.measure(ctx, w, rows)
	return results, nil, err
}
