package main

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// sweepExperiments delete lots of a tenth of the store that died together. The sweeps are
// timed first, and then run while readers check tokens.
func sweepExperiments(p plan, size int) []experiment {
	id := "sweep/" + count(size)
	about := func(suffix, title string) group {
		return group{ID: id + suffix, Kind: "sweep" + suffix, Tokens: size, Callers: 1, Title: title}
	}
	what := fmt.Sprintf("sweep of %s of %s tokens", grouped(size/10), grouped(size))
	return []experiment{
		&measurement{
			group: about("", "Time of a "+what),
			lines: []row{{id: id + "/bolt/scs-bbolt", lapse: "bolt", peer: "scs-bbolt", of: perOp, must: atMost(0.25), allocs: uncounted}},
			measure: func(ctx context.Context, w *world, rows []row) ([]result, error) {
				return w.timeSweeps(ctx, size, rows)
			},
		},
		&measurement{
			group: about("-meanwhile", fmt.Sprintf("p99 of a check during a %s, %s", what, readers.String("readers"))),
			lines: []row{
				{id: id + "/memory/idle/p99", lapse: "memory", peer: "idle", of: p99, must: atMost(5), allocs: uncounted},
				{id: id + "/bolt/idle/p99", lapse: "bolt", peer: "idle", of: p99, must: atMost(5), allocs: uncounted},
			},
			measure: func(ctx context.Context, w *world, rows []row) ([]result, error) {
				return w.watchSweeps(ctx, size, rows)
			},
		},
	}
}

// lotsDead is the time, from now, at which lots 0 to lot are dead and no other is.
func lotsDead(lot int) time.Duration { return lotLife*time.Duration(1+lot) + time.Hour }

// sweeper returns a function that deletes a lot and says how long that took. Lots
// come in the order in which they die.
func sweeper(k *kept, size int) (func(ctx context.Context, lot int) (time.Duration, error), error) {
	clock := new(shiftClock)
	m, err := lapse.New(k.store, lapse.Config{
		Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit, Retention: time.Millisecond}, Clock: clock,
	})
	return func(ctx context.Context, lot int) (time.Duration, error) {
		clock.set(lotsDead(lot))
		begin := time.Now()
		n, err := m.Sweep(ctx)
		if err == nil && n != size/10 {
			err = fmt.Errorf("%d of %d dead tokens swept", n, size/10)
		}
		return time.Since(begin), err
	}, err
}

// timeSweeps sweeps the first half of the lots, in turns with scs.
func (w *world) timeSweeps(ctx context.Context, size int, rows []row) ([]result, error) {
	k, err := w.bolt(size)
	if err != nil {
		return nil, err
	}
	_, peer, err := w.scsOnBolt(size)
	if err != nil {
		return nil, err
	}
	sweep, err := sweeper(k, size)
	if err != nil {
		return nil, err
	}
	scsSweep := func(_ context.Context, lot int) (time.Duration, error) {
		ahead, begin := lotsDead(lot), time.Now()
		n, err := peer.sweep(func() time.Time { return time.Now().Add(ahead) })
		if err == nil && n != size/10 {
			err = fmt.Errorf("scs swept %d of %d dead sessions", n, size/10)
		}
		return time.Since(begin), err
	}
	times := [2][]float64{}
	for lot := range w.plan.sweeps {
		for turn := range 2 {
			which := (lot + turn) % 2
			took, err := []func(context.Context, int) (time.Duration, error){sweep, scsSweep}[which](ctx, lot)
			if err != nil {
				return nil, err
			}
			times[which] = append(times[which], float64(took))
		}
	}
	return []result{rows[0].judge(rows[0].compare("ns", times[0], times[1]))}, nil
}

// watchSweeps watches readers, idle and during a sweep, in turns, on lots that were not swept
// yet.
func (w *world) watchSweeps(ctx context.Context, size int, rows []row) ([]result, error) {
	var all []result
	for _, r := range rows {
		k, err := w.kept(r.lapse, size)
		if err != nil {
			return nil, err
		}
		sweep, err := sweeper(k, size)
		if err != nil {
			return nil, err
		}
		if err := w.skipLots(ctx, k, size); err != nil {
			return nil, err
		}
		bearers := k.bearers.first(w.lasting(size))
		var idle, busy, worst []float64
		for lot := w.plan.sweeps; lot < w.lots(); lot++ {
			half, err := watch(readers, check(k.tokens, bearers), func() error { time.Sleep(w.plan.idle); return ctx.Err() })
			if err != nil {
				return nil, err
			}
			full, err := watch(readers, check(k.tokens, bearers), func() error { _, err := sweep(ctx, lot); return err })
			if err != nil {
				return nil, err
			}
			idle, busy = append(idle, half.quantile(0.99)), append(busy, full.quantile(0.99))
			worst = append(worst, float64(full.max.Load()))
		}
		res := r.compare("ns", busy, idle)
		res.Note = "worst " + humane(float64(spreadOf(worst).Median), "ns")
		all = append(all, r.judge(res))
	}
	return all, nil
}

// skipLots deletes the lots of the timed sweeps, if there are any left.
func (w *world) skipLots(ctx context.Context, k *kept, size int) error {
	clock := new(shiftClock)
	clock.set(lotsDead(w.plan.sweeps - 1))
	m, err := lapse.New(k.store, lapse.Config{
		Policy: lapse.Policy{TTL: longLife, MaxTTL: lapse.NoLimit, Retention: time.Millisecond}, Clock: clock,
	})
	if err != nil {
		return err
	}
	_, err = m.Sweep(ctx)
	return err
}

// readers check at fixed times.
var readers = schedule{callers: 4, every: 250 * time.Microsecond}

// schedule has callers call at fixed times, each as often as every says.
type schedule struct {
	callers int
	every   time.Duration
}

// String names the schedule of callers who are called what.
func (s schedule) String(what string) string {
	return fmt.Sprintf("%d %s on a schedule of %s each", s.callers, what, s.every)
}

// watch runs what while callers call op at fixed times. A call does not depend on the call
// before: when one had to wait, all calls that were due meanwhile are late, too. watch returns
// how long after their time the calls were done.
func watch(s schedule, op func(i int) error, what func() error) (*histogram, error) {
	h := new(histogram)
	var over atomic.Bool
	var done sync.WaitGroup
	errs := make([]error, s.callers)
	begin := time.Now()
	for c := range s.callers {
		done.Go(func() {
			for i := c; ; i += s.callers {
				due := begin.Add(time.Duration(i) * s.every / time.Duration(s.callers))
				time.Sleep(time.Until(due))
				if errs[c] = op(i); errs[c] != nil {
					return
				}
				h.add(time.Since(due))
				if over.Load() {
					return
				}
			}
		})
	}
	err := what()
	over.Store(true)
	done.Wait()
	for _, e := range errs {
		if err == nil {
			err = e
		}
	}
	return h, err
}
