package main

import (
	"context"
	"fmt"
	"math"
	"slices"
	"time"
)

// side is one contestant.
type side struct {
	name string

	// op is one operation. i is the number of the operation, and no number comes twice
	// for a side. Several callers call op at once.
	op func(i int) error

	// prepare prepares the n operations from number from on. It is not timed. It may
	// be nil.
	prepare func(from, n int) error

	// settle does the work that the operations of a turn have left for later. It is
	// timed: a turn ends when settle returns. It may be nil.
	settle func() error

	next int // the number of its next operation
	ops  int // how many of them are a turn
}

// turn is the figures of one turn of a side.
type turn struct {
	ops      int
	elapsed  time.Duration
	p50, p99 float64 // of single operations, in nanoseconds; zero where they were not timed
}

// perOp is the time of the turn by its operations, in nanoseconds. With several
// callers that is less than any of them waited.
func (t turn) perOp() float64 { return float64(t.elapsed) / float64(t.ops) }

// player plays one turn of a side: ops operations from the given one on.
type player func(s *side, from, ops int) (turn, error)

// play lets s have a turn.
func (s *side) play(p player, ops int) (turn, error) {
	t, err := s.operate(p, ops)
	if err != nil || s.settle == nil {
		return t, err
	}
	begin := time.Now()
	err = s.settle()
	t.elapsed += time.Since(begin)
	if err != nil {
		err = fmt.Errorf("%s: settle: %w", s.name, err)
	}
	return t, err
}

// operate is play without settling.
func (s *side) operate(p player, ops int) (turn, error) {
	from := s.next
	s.next += ops
	if s.prepare != nil {
		if err := s.prepare(from, ops); err != nil {
			return turn{}, fmt.Errorf("%s: prepare: %w", s.name, err)
		}
	}
	t, err := p(s, from, ops)
	if err != nil {
		return t, fmt.Errorf("%s: %w", s.name, err)
	}
	return t, nil
}

// calibrate sets how many operations of s take about as long as target: a multiple
// of callers, which is where it begins. A turn that is long already stays as it is. How
// long settling takes does not count; it comes once, at the end.
func (s *side) calibrate(p player, target time.Duration, callers int) error {
	for s.ops = callers; ; {
		t, err := s.operate(p, s.ops)
		if err != nil {
			return err
		}
		if t.elapsed >= target/4 {
			n := float64(s.ops) * float64(target) / float64(t.elapsed)
			s.ops = max(callers, int(math.Round(n/float64(callers)))*callers)
			break
		}
		s.ops *= 2
	}
	if s.settle == nil {
		return nil
	}
	return s.settle()
}

// alternate gives every side one turn in each round, in the order that draw returns for the
// round, and returns the turns of each side by round. A disturbance of the machine that is
// longer than a round disturbs all sides alike. before is called before each turn and is not
// timed.
func alternate(ctx context.Context, sides []*side, rounds int, draw func(n int) []int, before func(), p player) ([][]turn, error) {
	turns := make([][]turn, len(sides))
	for range rounds {
		for _, i := range draw(len(sides)) {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			before()
			t, err := sides[i].play(p, sides[i].ops)
			if err != nil {
				return nil, err
			}
			turns[i] = append(turns[i], t)
		}
	}
	return turns, nil
}

// spread is where the middle half of some figures lies.
type spread struct {
	Q1     figure `json:"q1"`
	Median figure `json:"median"`
	Q3     figure `json:"q3"`
}

// spreadOf returns the quartiles of values, between two of them where they fall
// there. Of no values they are not numbers.
func spreadOf(values []float64) spread {
	v := slices.Sorted(slices.Values(values))
	at := func(q float64) figure {
		if len(v) == 0 {
			return rounded(math.NaN())
		}
		place := q * float64(len(v)-1)
		low := int(place)
		high := min(low+1, len(v)-1)
		return rounded(v[low] + (v[high]-v[low])*(place-float64(low)))
	}
	return spread{at(0.25), at(0.5), at(0.75)}
}

// quantity is the figure of a turn that is compared.
type quantity string

const (
	perOp quantity = "time" // nanoseconds by operation
	rate  quantity = "rate" // operations a second
	p50   quantity = "p50"  // nanoseconds that half of the operations took at most
	p99   quantity = "p99"
)

func (q quantity) of(t turn) float64 {
	switch q {
	case rate:
		return 1e9 / t.perOp()
	case p50:
		return t.p50
	case p99:
		return t.p99
	}
	return t.perOp()
}

func (q quantity) unit() string {
	if q == rate {
		return "/s"
	}
	return "ns"
}

// each returns the quantity of every turn.
func (q quantity) each(turns []turn) []float64 {
	values := make([]float64, len(turns))
	for i, t := range turns {
		values[i] = q.of(t)
	}
	return values
}

// divide returns the ratios of figures that were measured in the same round.
func divide(a, b []float64) []float64 {
	ratios := make([]float64, min(len(a), len(b)))
	for i := range ratios {
		ratios[i] = a[i] / b[i]
	}
	return ratios
}
