package storagetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func capCases() []testCase {
	return []testCase{
		{"S29_a_lower_expiry_needs_a_cap", "A Put whose ExpiresAt is below the stored one needs a MaxExpiresAt that is set and not above it, or is ErrConflict.",
			checkLowerExpiry},
		{"S29_below_what_was_touched", "A Put whose ExpiresAt is below what a Touch has raised it to needs a MaxExpiresAt, too.",
			checkBelowTouched},
	}
}

func capped(at time.Time) func(*storage.Record) {
	return func(r *storage.Record) { r.MaxExpiresAt = at }
}

// checkTouchStops touches records whose expiry is before, at and after the cap, to before, at and
// after it. It also touches records without a cap.
func checkTouchStops(e *env) error {
	const step = time.Millisecond
	limit := instant(1000)
	before, after, far := limit.Add(-step), limit.Add(step), limit.AddDate(100, 0, 0)
	rows := []struct{ stored, cap, to, want time.Time }{
		{before.Add(-step), limit, before, before},
		{before.Add(-step), limit, limit, limit},
		{before.Add(-step), limit, after, limit},
		{before.Add(-step), limit, far, limit},
		{limit, limit, before, limit},
		{limit, limit, limit, limit},
		{limit, limit, after, limit},
		{limit, limit, far, limit},
		{after, limit, limit, after},
		{after, limit, after.Add(step), after},
		{after, limit, far, after},
		{before, time.Time{}, far, far},
	}
	var rs, want []storage.Record
	for _, row := range rows {
		r := e.record("ana", expires(row.stored), capped(row.cap))
		rs = append(rs, r)
		want = append(want, with(r, expires(row.want), func(r *storage.Record) { r.LastUsedAt = r.LastUsedAt.Add(step) }))
	}
	if err := e.put(rs...); err != nil {
		return err
	}
	for i, row := range rows {
		use := storage.Use{At: want[i].LastUsedAt, ExpiresAt: row.to}
		if err := errors.Join(e.touch(rs[i].ID, use), e.has(want[i])); err != nil {
			return fmt.Errorf("from %v with a cap of %v to %v: %w", row.stored, row.cap, row.to, err)
		}
	}
	return e.andReopened(func() error { return errors.Join(e.holds(want...), e.inTx(want...)) })
}

// checkLateTouchStops lowers records that were touched, before the store may have written the
// Touch, and touches them again.
func checkLateTouchStops(e *env) error {
	rs := e.records(12, "ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	late := func() (err error) {
		for _, r := range rs {
			use := storage.Use{At: r.IssuedAt.Add(time.Minute), ExpiresAt: r.IssuedAt.Add(40 * time.Minute)}
			err = errors.Join(err, e.touch(r.ID, use))
		}
		return err
	}
	err := late()
	for i := range rs {
		err = errors.Join(err, e.change("ana", rs[i].ID, func(r *storage.Record) {
			lowered(r.IssuedAt.Add(10 * time.Minute))(r)
			rs[i] = *r
		}))
	}
	return errors.Join(err, late(), e.holds(rs...), e.andReopened(func() error { return errors.Join(e.holds(rs...), e.has(rs...)) }))
}

// checkTouchesStop lowers a record step by step while other goroutines touch it far beyond the cap.
func checkTouchesStop(e *env) error {
	const steps = 20
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	limit := func(n int) time.Time { return r.ExpiresAt.Add(-time.Duration(n) * time.Second) }
	err := together(4, func(i int) error {
		for n := 1; n <= steps; n++ {
			if i > 0 {
				if err := e.touch(r.ID, storage.Use{ExpiresAt: r.ExpiresAt.Add(time.Hour)}); err != nil {
					return err
				}
				continue
			}
			err := e.change("ana", r.ID, lowered(limit(n)))
			got, reading := e.store.Get(e.ctx, r.ID)
			if err := errors.Join(err, reading); err != nil {
				return err
			}
			if got.ExpiresAt.After(limit(n)) {
				return fmt.Errorf("it expires %v after its cap", got.ExpiresAt.Sub(limit(n)))
			}
		}
		return nil
	})
	want := with(r, lowered(limit(steps)))
	return errors.Join(err, e.andReopened(func() error { return e.has(want) }))
}

func checkLowerExpiry(e *env) error {
	const step = time.Millisecond
	stored := instant(1000)
	rows := []struct {
		name    string
		expires time.Time
		cap     time.Time
		ok      bool
	}{
		{"the same without a cap", stored, time.Time{}, true},
		{"later without a cap", stored.Add(step), time.Time{}, true},
		{"later than its cap", stored.Add(step), stored, true},
		{"lower without a cap", stored.Add(-step), time.Time{}, false},
		{"lower under a cap that is above", stored.Add(-step), stored, false},
		{"lower under a cap one step above", stored.Add(-2 * step), stored.Add(-step), false},
		{"lower, at its cap", stored.Add(-step), stored.Add(-step), true},
		{"lower, past its cap", stored.Add(-step), stored.Add(-2 * step), true},
		{"none at all", time.Time{}, time.Time{}, false},
	}
	var want []storage.Record
	for _, row := range rows {
		for _, end := range []time.Time{{}, instant(50)} {
			before := e.record("ana", expires(stored), capped(time.Time{}))
			if err := e.put(before); err != nil {
				return err
			}
			after := with(before, expires(row.expires), capped(row.cap))
			if !end.IsZero() {
				ended(end, storage.EndRevoked)(&after)
			}
			if !row.ok {
				if err := e.conflicting(row.name, "ana", after); err != nil {
					return err
				}
				after = before
			} else if err := e.put(after); err != nil {
				return fmt.Errorf("%s: %w", row.name, err)
			}
			want = append(want, after)
		}
	}
	return e.andReopened(func() error { return errors.Join(e.holds(want...), e.has(want...)) })
}

func checkBelowTouched(e *env) error {
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	use := storage.Use{ExpiresAt: r.ExpiresAt.Add(time.Hour)}
	if err := e.touch(r.ID, use); err != nil {
		return err
	}
	raised := r
	use.Raise(&raised)
	low := with(r, lowered(r.ExpiresAt))
	return errors.Join(
		e.conflicting("putting what it was before the Touch", "ana", r),
		e.has(raised), e.put(low), e.has(low),
		e.andReopened(func() error { return e.holds(low) }))
}
