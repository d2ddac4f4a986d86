package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func shareWatchCases() []testCase {
	return []testCase{
		{"S39_tells_of_other_processes", "Where an Update of another process has returned, a watch tells the change, or tells a Gap, or ends with an error.",
			across(checkToldAcross)},
		{"S39_as_of", "A Change with AsOf proves that nothing from before that instant is still to come.",
			across(checkAsOf)},
		{"S24_slow_body_in_another_process", "A loop body that is slow makes no writer of another process wait, and is told of all or of a Gap.",
			across(checkSlowAcross)},
		{"S26_close_of_one_process", "A watch ends with ErrClosed once its own store is closed, and not by the Close of another process.",
			across(checkWatchClosedAcross)},
	}
}

var errNoProof = errors.New("the watch proves nothing: no Change has AsOf")

// narrowings returns changes that a watch must tell, by their names.
func narrowings() map[string]func(tx storage.Tx, r storage.Record) error {
	putting := func(change func(*storage.Record)) func(storage.Tx, storage.Record) error {
		return func(tx storage.Tx, r storage.Record) error { return tx.Put(with(r, change)) }
	}
	return map[string]func(tx storage.Tx, r storage.Record) error{
		"an end":           putting(ended(instant(1), storage.EndRevoked)),
		"a suspension":     putting(func(r *storage.Record) { r.SuspendedAt = instant(1) }),
		"another secret":   putting(rotated(7)),
		"an earlier death": putting(lowered(instant(2))),
		"another scope":    putting(func(r *storage.Record) { r.Scope = "read" }),
		"a deletion":       func(tx storage.Tx, r storage.Record) error { return tx.Delete(r.ID) },
	}
}

func checkToldAcross(e, other *env) error {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	for name, narrow := range narrowings() {
		rs := e.records(3, "ana")
		if err := errors.Join(e.put(rs...), other.has(rs...)); err != nil {
			return err
		}
		pairs, err := other.listening(ctx)
		if err != nil {
			return err
		}
		err = e.update("ana", func(tx storage.Tx) error {
			for _, r := range rs {
				if err := narrow(tx, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err == nil {
			err = other.toldOrEnded(pairs, rs...)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	return nil
}

// toldOrEnded is told, for a watch that may end with an error instead.
func (e *env) toldOrEnded(pairs <-chan pair, rs ...storage.Record) error {
	err := e.told(pairs, rs...)
	if errors.Is(err, storage.ErrUnavailable) {
		return nil
	}
	return err
}

// checkAsOf changes records by one process, and compares the proofs that come to the watch of the other
// with the changes that came before them.
func checkAsOf(e, other *env) error {
	ctx, cancel := context.WithTimeout(e.ctx, e.patience)
	defer cancel()
	rs := e.records(300, "ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	pairs, err := other.listening(ctx)
	if err != nil {
		return err
	}
	p := proof{returned: make(map[storage.ID]time.Duration)}
	for n := 0; p.proved < 5 && (n < len(rs) || p.proved == 0) && ctx.Err() == nil; n++ {
		if n < len(rs) {
			if err := e.change("ana", rs[n].ID, named("another name")); err != nil {
				return err
			}
			p.returned[rs[n].ID] = storage.Elapsed()
		}
		for range len(pairs) {
			if err := p.take(<-pairs); err != nil && ctx.Err() == nil {
				return err
			}
		}
		pauseFor(ctx, time.Millisecond)
	}
	if p.proved == 0 {
		return errNoProof
	}
	return nil
}

// proof compares what a watch tells with the instants at which Updates returned.
type proof struct {
	returned map[storage.ID]time.Duration // of those that are not told yet
	proved   int                          // how many Changes had AsOf
}

func (p *proof) take(got pair) error {
	switch {
	case got.err != nil:
		return got.err
	case got.Gap:
		clear(p.returned)
	case got.AsOf == 0:
		delete(p.returned, got.ID)
	default:
		p.proved++
		for id, at := range p.returned {
			if at < got.AsOf {
				return fmt.Errorf("AsOf %v was told before the change of %v, whose Update had returned at %v", got.AsOf, id, at)
			}
		}
	}
	return nil
}

func checkSlowAcross(e, other *env) error {
	const updates, each = 3, 200
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	all := e.records(updates*each, "ana")
	if err := e.put(all...); err != nil {
		return err
	}
	awake := make(chan struct{})
	pairs, err := other.watchingAfter(ctx, func() { <-awake })
	if err != nil {
		return err
	}
	if _, err := other.next(pairs); err != nil {
		return err
	}
	err = runGuarded(e.patience, func() error {
		for n := range updates {
			rs := all[n*each : (n+1)*each]
			for i := range rs {
				rs[i].Name = "another name"
			}
			if err := e.put(rs...); err != nil {
				return err
			}
		}
		return nil
	})
	close(awake)
	if err != nil {
		return err
	}
	return other.toldOrEnded(pairs, all...)
}

func checkWatchClosedAcross(e, other *env) error {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	mine, err := e.listening(ctx)
	if err != nil {
		return err
	}
	theirs, err := other.listening(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(other.store.Close(), other.ends(theirs, storage.ErrClosed)); err != nil {
		return err
	}
	for n := range 3 { // the first may still be told by a watch that has ended
		if err := errors.Join(e.change("ana", r.ID, counted(n)), e.told(mine, r)); err != nil {
			return err
		}
	}
	return nil
}
