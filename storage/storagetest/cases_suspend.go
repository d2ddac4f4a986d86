package storagetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func suspendCases() []testCase {
	return []testCase{
		{"S33_touch_leaves_the_suspension", "SuspendedAt is set and cleared by Put alone; Touch, however late, never changes it.",
			checkTouchLeavesSuspension},
		{"S33_touches_beside_a_suspension", "Touches that come at the same time as a Put neither take its SuspendedAt back nor set it again.",
			checkTouchesBesideSuspension},
	}
}

func suspended(at time.Time) func(*storage.Record) {
	return func(r *storage.Record) { r.SuspendedAt = at }
}

// checkTouchLeavesSuspension suspends and resumes records that were touched, before the store may
// have written the Touch, and touches them again.
func checkTouchLeavesSuspension(e *env) error {
	const n = 12
	rs := e.records(n, "ana")
	for i := range rs[n/2:] {
		suspended(instant(1))(&rs[n/2+i])
	}
	err := e.put(rs...)
	touch := func(minute time.Duration) {
		for i := range rs {
			use := storage.Use{At: rs[i].IssuedAt.Add(minute), ExpiresAt: rs[i].ExpiresAt.Add(time.Minute)}
			err = errors.Join(err, e.touch(rs[i].ID, use))
			use.Raise(&rs[i])
		}
	}
	touch(time.Minute)
	for i := range rs {
		to := time.Time{}
		if i < n/2 {
			to = instant(2)
		}
		suspended(to)(&rs[i])
		err = errors.Join(err, e.change("ana", rs[i].ID, suspended(to)))
	}
	touch(2 * time.Minute)
	same := func() error { return errors.Join(e.holds(rs...), e.has(rs...), e.inTx(rs...)) }
	return errors.Join(err, same(), e.andReopened(same))
}

// checkTouchesBesideSuspension suspends and resumes a record by turns, while other goroutines touch
// the record. After each Put every way to read the record shows what was put.
func checkTouchesBesideSuspension(e *env) error {
	const steps = 20
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	err := together(4, func(i int) error {
		for n := range steps {
			if i > 0 {
				if err := e.touch(r.ID, storage.Use{At: r.IssuedAt.Add(time.Duration(n*i) * time.Second)}); err != nil {
					return err
				}
				continue
			}
			to := instant(int64(n))
			if n%2 == 0 {
				to = time.Time{}
			}
			if err := e.change("ana", r.ID, suspended(to)); err != nil {
				return err
			}
			for name, read := range e.readers() {
				got, err := read("ana", r.ID)
				if err == nil && !got.SuspendedAt.Equal(to) {
					err = fmt.Errorf("suspended at %v; want %v", got.SuspendedAt, to)
				}
				if err != nil {
					return fmt.Errorf("%s: %w", name, err)
				}
			}
		}
		return nil
	})
	return errors.Join(err, e.andReopened(func() error {
		got, err := e.store.Get(e.ctx, r.ID)
		if err == nil && !got.SuspendedAt.Equal(instant(steps-1)) {
			err = fmt.Errorf("suspended at %v; want %v", got.SuspendedAt, instant(steps-1))
		}
		return err
	}))
}
