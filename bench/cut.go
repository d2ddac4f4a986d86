package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/near"
	"github.com/seed-55daa01a/lapse/storage/postgres"
)

// refusalExperiment measures how long after an end has returned another process still accepts the
// token by its copy, against how long after the call of a bare NOTIFY another connection has it. The
// other process is another store with connections of its own.
func refusalExperiment(p plan, size int) experiment {
	of := func(q quantity, must bound) row {
		return row{id: "refusal-near/near/notify/" + string(q), lapse: "near", peer: "notify", of: q, must: must, allocs: uncounted}
	}
	return &measurement{
		group: group{ID: "refusal-near", Kind: "refusal-near", Tokens: size, Callers: 1,
			Title: "First refusal at another process after an end has returned, by copies at hand over PostgreSQL"},
		lines: []row{of(p50, atMost(3)), of(p99, atMost(10))},
		measure: func(ctx context.Context, w *world, rows []row) ([]result, error) {
			ends, err := w.refusals(ctx, p, size)
			if err != nil {
				return nil, err
			}
			notices, err := w.notices(ctx)
			if err != nil {
				return nil, err
			}
			sides := []*side{{name: "near", op: ends}, {name: "notify", op: notices}}
			turns, err := alternate(ctx, sides, p.durableRounds, shuffled(), func() {}, w.waits(p))
			if err != nil {
				return nil, err
			}
			var all []result
			for _, r := range rows {
				all = append(all, r.judge(r.compare(r.of.unit(), r.of.each(turns[0]), r.of.each(turns[1]))))
			}
			return all, nil
		},
	}
}

// errWaited carries how long an operation has waited, which is less than it took.
type errWaited time.Duration

func (e errWaited) Error() string { return fmt.Sprint("waited ", time.Duration(e)) }

// waits returns a player whose quantiles are those of the times that operations return as errWaited.
func (w *world) waits(p plan) player {
	n := 100
	if p.quick {
		n = 3
	}
	h := new(histogram)
	return func(s *side, from, _ int) (turn, error) {
		h.reset()
		begin := time.Now()
		for i := from; i < from+n; i++ {
			var waited errWaited
			if err := s.op(i); !errors.As(err, &waited) {
				return turn{}, errors.Join(errNothing, err)
			}
			h.add(time.Duration(waited))
		}
		return turn{ops: n, elapsed: time.Since(begin), p50: h.quantile(0.5), p99: h.quantile(0.99)}, nil
	}
}

// refusals returns an operation that ends a token and waits until another process refuses it.
func (w *world) refusals(ctx context.Context, p plan, size int) (func(i int) error, error) {
	k, err := w.onPG(size)
	if err != nil {
		return nil, err
	}
	pool, err := w.pgPool("another process")
	if err != nil {
		return nil, err
	}
	store, err := postgres.New(ctx, pool, nil)
	if err != nil {
		return nil, err
	}
	copies, err := near.New(ctx, store, near.Options{})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	w.atRelease(copies.Close)
	there, err := manager(copies, never, nil)
	if err != nil {
		return nil, err
	}
	return func(i int) error {
		issued, err := k.tokens.Issue(ctx, grantTo(subject(i)))
		if err != nil {
			return err
		}
		for range 2 { // the second check is by a copy
			if _, err := there.Authenticate(ctx, issued.Bearer); err != nil {
				return err
			}
		}
		refused, here := make(chan time.Time, 1), make(chan error, 1)
		go func() {
			for {
				if _, err := there.Authenticate(ctx, issued.Bearer); err != nil {
					refused <- time.Now()
					here <- err
					return
				}
			}
		}()
		_, err = k.tokens.Expire(ctx, issued.ID)
		returned := time.Now()
		at := <-refused
		if why := <-here; err != nil || !errors.Is(why, lapse.ErrRevoked) {
			return errors.Join(err, why)
		}
		return errWaited(max(0, at.Sub(returned)))
	}, nil
}

// notices returns an operation that sends a NOTIFY and waits until another connection has it.
func (w *world) notices(ctx context.Context) (func(i int) error, error) {
	dsn, err := w.postgres()
	if err != nil {
		return nil, err
	}
	var conns [2]*pgx.Conn
	for i := range conns {
		if conns[i], err = pgx.Connect(ctx, dsn); err != nil {
			return nil, err
		}
		conn := conns[i]
		w.atRelease(func() error { return conn.Close(context.Background()) })
	}
	if _, err := conns[1].Exec(ctx, "LISTEN bench"); err != nil {
		return nil, err
	}
	return func(int) error {
		received := make(chan time.Time, 1)
		failed := make(chan error, 1)
		go func() {
			_, err := conns[1].WaitForNotification(ctx)
			received <- time.Now()
			failed <- err
		}()
		sent := time.Now()
		_, err := conns[0].Exec(ctx, "NOTIFY bench, 'a payload of some length'")
		at := <-received
		if err := errors.Join(err, <-failed); err != nil {
			return err
		}
		return errWaited(at.Sub(sent))
	}, nil
}
