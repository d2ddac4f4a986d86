package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func durableCases() []testCase {
	return []testCase{
		{"S10_survives_close", "What Update acknowledged with nil survives Close.",
			checkSurvives},
		{"S10_the_last_update_survives", "What Update acknowledged with nil survives Close, the last one before it included.",
			checkLastSurvives},
		{"S21_any_goroutine", "Every method may be called from any goroutine.",
			checkAnyGoroutine},
	}
}

func checkSurvives(e *env) error {
	all := slices.Concat(e.mixed(40, "ana"), e.mixed(9, "bob"), e.mixed(1, "carl"))
	if err := e.put(all...); err != nil {
		return err
	}
	for range 3 {
		if err := e.reopen(); err != nil {
			return err
		}
		if err := errors.Join(e.holds(all...), e.has(all...), e.inTx(all...)); err != nil {
			return err
		}
		fresh := e.record("bob")
		if err := e.put(fresh); err != nil {
			return err
		}
		all = append(all, fresh)
	}
	return nil
}

func checkLastSurvives(e *env) error {
	r := e.record("ana")
	for n := range 12 {
		counted(n)(&r)
		if err := e.put(r); err != nil {
			return err
		}
		if n%4 != 3 {
			continue
		}
		if err := e.reopen(); err != nil {
			return err
		}
		if err := e.holds(r); err != nil {
			return fmt.Errorf("after %d updates: %w", n+1, err)
		}
	}
	return nil
}

// checkAnyGoroutine has every goroutine use every method on a subject of its own, whose records the
// goroutine knows.
func checkAnyGoroutine(e *env) error {
	const workers, rounds = 8, 6
	var left [workers]storage.Record
	err := together(workers, func(i int) error {
		for n := range rounds {
			if err := e.workOn(&left[i], i, n); err != nil {
				return fmt.Errorf("worker %d: %w", i, err)
			}
		}
		return nil
	})
	return errors.Join(err, e.andReopened(func() error { return e.holds(left[:]...) }))
}

// work uses every method on *r, the only live record of its subject, and keeps *r equal to the
// stored record. Dead records may remain until every Sweep has returned.
func (e *env) work(r *storage.Record) error {
	use := storage.Use{At: r.LastUsedAt.Add(time.Second), ExpiresAt: r.ExpiresAt.Add(time.Second)}
	if err := e.touch(r.ID, use); err != nil {
		return err
	}
	use.Raise(r)
	seen := e.has(*r)
	_, sweeping := e.store.Sweep(e.ctx, instant(2), 100)
	listed, listing := e.list(storage.Filter{Subject: r.Subject})
	if err := errors.Join(seen, sweeping, listing); err != nil {
		return err
	}
	alive := slices.DeleteFunc(listed, func(r storage.Record) bool { return r.ExpiresAt.Equal(instant(1)) })
	return sameRecords("the living that List yields", []storage.Record{*r}, alive)
}
