package storagetest

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-55daa01a/lapse/storage"
)

func watchCases() []testCase {
	return []testCase{
		{"S23_gap_first", "The first pair of a watch is a Gap, of each watch.",
			checkGapFirst},
		{"S23_tells_puts", "A watch tells every record that an Update replaces which began after the Gap.",
			checkTellsPuts},
		{"S23_told_is_readable", "What a watch tells of can be read.",
			checkToldIsReadable},
		{"S23_tells_all_writers", "Nothing that many writers put at once is left out, but by a Gap.",
			checkTellsAllWriters},
		{"S24_slow_body", "A loop body that is slow makes no writer wait, and is told of all or of a Gap.",
			checkSlowBody},
		{"S25_body_calls_the_store", "The loop body may call the store.",
			checkBodyCalls},
		{"S25_body_stops", "The loop body may stop at any time; that leaves nothing locked.",
			checkBodyStops},
		{"S26_context", "Once the context has ended the last pair is its error.",
			checkWatchContext},
		{"S26_closed", "Once the store is closed the last pair is ErrClosed.",
			checkWatchClosed},
	}
}

var errNoWatch = errors.New("the store tells nothing: it is no storage.Watcher")

// pair is one pair that a watch yields.
type pair struct {
	storage.Change
	err error
}

// roomForPairs is more pairs than any case causes.
const roomForPairs = 10_000

// watching ranges over a watch in a goroutine of its own and returns the pairs. The channel is
// closed when the watch ends.
func (e *env) watching(ctx context.Context) (<-chan pair, error) {
	return e.watchingAfter(ctx, func() {})
}

// watchingAfter is watching with a loop body that calls do first.
func (e *env) watchingAfter(ctx context.Context, do func()) (<-chan pair, error) {
	w, ok := e.store.(storage.Watcher)
	if !ok {
		return nil, errNoWatch
	}
	pairs := make(chan pair, roomForPairs)
	go func() {
		defer close(pairs)
		for c, err := range w.Watch(ctx) {
			pairs <- pair{c, err}
			do()
		}
	}()
	return pairs, nil
}

// listening is watching that returns after the first Gap.
func (e *env) listening(ctx context.Context) (<-chan pair, error) {
	pairs, err := e.watching(ctx)
	if err != nil {
		return nil, err
	}
	p, err := e.next(pairs)
	if err == nil && (!p.Gap || p.err != nil) {
		err = fmt.Errorf("the first pair is %+v, %v; want a Gap", p.Change, p.err)
	}
	return pairs, err
}

// next returns the next pair that is not only a proof of what was told (Change.AsOf).
func (e *env) next(pairs <-chan pair) (p pair, err error) {
	err = runGuarded(e.patience, func() error {
		for {
			var ok bool
			if p, ok = <-pairs; !ok {
				return errors.New("the watch ended without a word")
			}
			if p.err != nil || p.AsOf == 0 {
				return nil
			}
		}
	})
	return p, err
}

// told reads pairs until each of rs was told with its subject, or until a Gap.
func (e *env) told(pairs <-chan pair, rs ...storage.Record) error {
	left := make(map[storage.ID]string)
	for i := range rs {
		left[rs[i].ID] = rs[i].Subject
	}
	for len(left) > 0 {
		p, err := e.next(pairs)
		switch {
		case err != nil:
			return fmt.Errorf("%d of %d records were not told: %w", len(left), len(rs), err)
		case p.err != nil:
			return fmt.Errorf("%d of %d records were not told: the watch ended by %w", len(left), len(rs), p.err)
		case p.Gap:
			return nil
		}
		subject, wanted := left[p.ID]
		if !wanted {
			continue // a change of an earlier Update, or one that was told before
		}
		if p.Subject != subject {
			return fmt.Errorf("told of %v with subject %q, want %q", p.ID, p.Subject, subject)
		}
		delete(left, p.ID)
	}
	return nil
}

func checkGapFirst(e *env) error {
	if err := e.put(e.record("ana")); err != nil {
		return err
	}
	return e.andReopened(func() error {
		ctx, cancel := context.WithCancel(e.ctx)
		defer cancel()
		_, err := e.listening(ctx)
		if err != nil {
			return err
		}
		_, err = e.listening(ctx)
		return err
	})
}

func checkTellsPuts(e *env) error {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	a, b, c := e.record("ana"), e.record("ana"), e.record("bob")
	if err := e.put(a); err != nil {
		return err
	}
	var all [2]<-chan pair
	for i := range all {
		var err error
		if all[i], err = e.listening(ctx); err != nil {
			return err
		}
	}
	renamed, dead := a, b
	renamed.Name = "another name"
	dead.EndedAt, dead.EndReason = instant(1), storage.EndRevoked
	if err := e.put(b, c); err != nil { // a first Put need not be told
		return err
	}
	other := with(c, named("another name, too"))
	for _, puts := range [][]storage.Record{{other}, {renamed, dead}, {a}} {
		if err := e.put(puts...); err != nil {
			return err
		}
		for _, pairs := range all {
			if err := e.told(pairs, puts...); err != nil {
				return err
			}
		}
	}
	return nil
}

func checkToldIsReadable(e *env) error {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	w, ok := e.store.(storage.Watcher)
	if !ok {
		return errNoWatch
	}
	listening, first := make(chan struct{}), e.record("ana")
	want := with(first, named("another name"))
	if err := e.put(first); err != nil {
		return err
	}
	_, watched := underway(func() error {
		for c, err := range w.Watch(ctx) {
			switch {
			case err != nil:
				return err
			case c.Gap:
				close(listening)
				continue
			case c.AsOf != 0:
				continue
			}
			return e.has(want)
		}
		return errors.New("the watch ended without a word")
	})
	return runGuarded(e.patience, func() error {
		select {
		case <-listening:
		case err := <-watched:
			return errors.Join(errors.New("there was no Gap"), err)
		}
		return errors.Join(e.put(want), <-watched)
	})
}

func checkTellsAllWriters(e *env) error {
	const writers, rounds = 8, 10
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	pairs, err := e.listening(ctx)
	if err != nil {
		return err
	}
	var all [writers * rounds]storage.Record
	err = together(writers, func(i int) error {
		for n := range rounds {
			r := e.record(fmt.Sprint("writer ", i))
			if err := errors.Join(e.put(r), e.put(with(r, named("another name")))); err != nil {
				return err
			}
			all[i*rounds+n] = r
		}
		return nil
	})
	return errors.Join(err, e.told(pairs, all[:]...))
}

func checkSlowBody(e *env) error {
	const updates, each = 3, 500
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	awake := make(chan struct{})
	pairs, err := e.watchingAfter(ctx, func() { <-awake })
	if err != nil {
		return err
	}
	if _, err := e.next(pairs); err != nil {
		return err
	}
	var all []storage.Record
	err = runGuarded(e.patience, func() error {
		for range updates {
			rs := make([]storage.Record, each)
			for i := range rs {
				rs[i] = e.record("ana")
			}
			if err := e.put(rs...); err != nil {
				return err
			}
			for i := range rs {
				rs[i].Name = "another name"
			}
			if err := e.put(rs...); err != nil {
				return err
			}
			all = append(all, rs...)
		}
		return nil
	})
	close(awake)
	if err != nil {
		return err
	}
	return e.told(pairs, all...)
}

func checkBodyCalls(e *env) error {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	w, ok := e.store.(storage.Watcher)
	if !ok {
		return errNoWatch
	}
	r := e.record("ana")
	return runGuarded(e.patience, func() error {
		for _, err := range w.Watch(ctx) {
			return errors.Join(err, e.put(r), e.has(r), e.touch(r.ID, storage.Use{}), e.holds(r), e.sweep(instant(0), 1, 0))
		}
		return errors.New("the watch ended without a word")
	})
}

func checkBodyStops(e *env) error {
	w, ok := e.store.(storage.Watcher)
	if !ok {
		return errNoWatch
	}
	return runGuarded(e.patience, func() error {
		for range 100 {
			for _, err := range w.Watch(e.ctx) {
				if err != nil {
					return err
				}
				break
			}
		}
		r := e.record("ana")
		if err := e.put(r); err != nil {
			return err
		}
		return e.holds(r)
	})
}

// ends checks that the last pair has the error want, and that the channel is closed after it.
func (e *env) ends(pairs <-chan pair, want error) error {
	for {
		p, err := e.next(pairs)
		if err != nil {
			return err
		}
		if p.err == nil {
			continue
		}
		return runGuarded(e.patience, func() error {
			if after, more := <-pairs; more {
				return fmt.Errorf("after %v it told of %+v", p.err, after)
			}
			return wants("Watch", p.err, want)
		})
	}
}

func checkWatchContext(e *env) error {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	pairs, err := e.listening(ctx)
	if err != nil {
		return err
	}
	cancel()
	if err := e.ends(pairs, context.Canceled); err != nil {
		return err
	}
	if pairs, err = e.watching(ctx); err != nil {
		return err
	}
	if err := e.ends(pairs, context.Canceled); err != nil {
		return fmt.Errorf("with a context that had ended: %w", err)
	}
	return e.put(e.record("ana"))
}

func checkWatchClosed(e *env) error {
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	pairs, err := e.listening(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(e.put(e.record("ana")), e.store.Close()); err != nil {
		return err
	}
	if err := e.ends(pairs, storage.ErrClosed); err != nil {
		return err
	}
	if pairs, err = e.watching(ctx); err != nil {
		return err
	}
	if err := e.ends(pairs, storage.ErrClosed); err != nil {
		return fmt.Errorf("a watch that begins after Close: %w", err)
	}
	return nil
}
