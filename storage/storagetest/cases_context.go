package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func contextCases() []testCase {
	return []testCase{
		{"S19_ended_before", "A context that ends before the effect means no effect and an error that wraps the context's.",
			checkEndedContext},
		{"S19_ends_while_fn_runs", "A context that ends while Update runs fn means no effect and an error that wraps the context's.",
			checkContextEndsInFn},
		{"S19_ends_while_update_waits", "A context that ends while Update waits for its turn ends the waiting, with an error that wraps the context's.",
			checkContextEndsWaiting},
		{"S19_ends_afterwards", "A context that ends once a call has returned undoes nothing.",
			checkContextEndsAfterwards},
	}
}

func checkEndedContext(e *env) error {
	alive, due := e.record("ana"), e.record("ana", expires(instant(1)))
	if err := e.put(alive, due); err != nil {
		return err
	}
	cancelled, cancel := context.WithCancel(e.ctx)
	cancel()
	late, cancel := context.WithDeadline(e.ctx, time.UnixMilli(0))
	defer cancel()
	for _, ctx := range []context.Context{cancelled, late} {
		err := errors.Join(e.refuses(ctx, ctx.Err(), alive), e.andReopened(func() error { return e.holds(alive, due) }))
		if err != nil {
			return err
		}
	}
	return nil
}

// refuses calls every method except Close with ctx, and checks that each returns the error want.
func (e *env) refuses(ctx context.Context, want error, r storage.Record) error {
	_, get := e.store.Get(ctx, r.ID)
	_, sweep := e.store.Sweep(ctx, instant(2), 10)
	_, idle := e.store.Sweep(ctx, instant(2), 0)
	touch := e.store.Touch(ctx, r.ID, storage.Use{At: r.LastUsedAt.Add(time.Hour), ExpiresAt: r.ExpiresAt.Add(time.Hour)})
	update := e.store.Update(ctx, r.Subject, puts(with(r, named("changed")), e.record(r.Subject)))
	errs := []error{wants("Get", get, want), wants("Sweep", sweep, want), wants("Sweep of none", idle, want), wants("Touch", touch, want), wants("Update", update, want)}
	for _, f := range []storage.Filter{{}, {Subject: r.Subject}, {Subject: "absent"}, {ExpiresBefore: r.ExpiresAt.Add(time.Hour)}} {
		var pairs int
		var last error
		for _, last = range e.store.List(ctx, f) {
			pairs++
		}
		errs = append(errs, wants("List", last, want), diff("pairs of List", 1, pairs))
	}
	return errors.Join(errs...)
}

func checkContextEndsInFn(e *env) error {
	before := e.record("ana")
	if err := e.put(before); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	err := e.store.Update(ctx, "ana", func(tx storage.Tx) error {
		err := puts(with(before, named("changed")), e.record("ana"))(tx)
		cancel()
		return err
	})
	return errors.Join(wants("Update", err, context.Canceled), e.stillWorks(before))
}

// checkContextEndsWaiting keeps one Update in its fn and ends the context of another one. A store
// that runs both at once need not make the other one wait; then every write that it acknowledged
// must be there.
func checkContextEndsWaiting(e *env) error {
	holding, release := make(chan struct{}, 1), make(chan struct{})
	first, second := e.record("ana"), e.record("ana")
	_, held := underway(func() error {
		return e.update("ana", func(tx storage.Tx) error {
			select {
			case holding <- struct{}{}:
			default:
			}
			<-release
			return tx.Put(first)
		})
	})
	<-holding
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	started, waiting := underway(func() error { return e.store.Update(ctx, "ana", puts(second)) })
	<-started
	within(waiting)
	cancel()
	promptly := runGuarded(e.patience, func() error { waiting <- <-waiting; return nil })
	close(release)
	if promptly != nil {
		return fmt.Errorf("Update still waits after its context ended: %w", errors.Join(promptly, <-held))
	}
	err := <-waiting
	there := func() error { return e.holds(first) }
	switch {
	case err == nil:
		there = func() error { return e.holds(first, second) }
	case errors.Is(err, storage.ErrOutcomeUnknown): // its commit had begun: either is right, and the second may come late
		there = func() error {
			if e.holds(first) == nil {
				return nil
			}
			return e.holds(first, second)
		}
		fallthrough
	default:
		err = wants("Update that waited", err, context.Canceled)
	}
	return errors.Join(err, <-held, e.andReopened(there))
}

func checkContextEndsAfterwards(e *env) error {
	r, due := e.record("ana"), e.record("ana", expires(instant(1)))
	use := storage.Use{At: r.LastUsedAt.Add(time.Hour), ExpiresAt: r.ExpiresAt.Add(time.Hour)}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	err := e.store.Update(ctx, "ana", puts(r, due))
	touched := e.store.Touch(ctx, r.ID, use)
	_, swept := e.store.Sweep(ctx, instant(2), 10)
	cancel()
	use.Raise(&r)
	return errors.Join(err, touched, swept, e.andReopened(func() error { return e.holds(r) }))
}
