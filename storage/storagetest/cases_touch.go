package storagetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func touchCases() []testCase {
	return []testCase{
		{"S11_touch_raises_each_on_its_own", "Touch raises LastUsedAt and ExpiresAt, each on its own, and lowers neither.",
			checkTouchRaises},
		{"S11_the_latest_of_many_wins", "Touch lowers nothing, in whatever order many of them come.",
			checkLatestTouchWins},
		{"S11_touch_stops_at_the_cap", "Touch never raises ExpiresAt past the stored MaxExpiresAt.",
			checkTouchStops},
		{"S11_late_touch_stops_at_the_cap", "Touch never raises ExpiresAt past the stored MaxExpiresAt, however late it is written.",
			checkLateTouchStops},
		{"S11_touches_at_once_stop_at_the_cap", "Touch never raises ExpiresAt past the stored MaxExpiresAt, among Updates that lower it.",
			checkTouchesStop},
		{"S12_touch_of_ended_changes_nothing", "Touch of an ended record changes nothing and returns nil.",
			checkTouchEnded},
		{"S12_touch_of_absent_creates_nothing", "Touch of an absent record changes nothing and returns nil: it creates nothing.",
			checkTouchAbsent},
		{"S12_late_touch_revives_nothing", "Touch creates nothing and revives nothing, however late it is written.",
			checkLateTouch},
		{"S12_end_among_touches_stands", "Touch revives nothing: an end among many of them is the last change.",
			checkEndAmongTouches},
		{"S13_touch_is_seen_at_once", "This process sees a Touch at once, in every method.",
			checkTouchSeen},
		{"S13_touch_survives_close", "Close writes what is left of the Touches.",
			checkTouchSurvives},
	}
}

func checkTouchRaises(e *env) error {
	used, expiry := instant(1000), instant(2000)
	base := func(r *storage.Record) { r.LastUsedAt, r.ExpiresAt = used, expiry }
	later, earlier := time.Millisecond, -time.Millisecond
	var zero time.Time
	rows := []struct {
		use            storage.Use
		at, expiresAt  time.Time // wanted
		usedAt, expiry time.Time // stored before
	}{
		{storage.Use{}, used, expiry, used, expiry},
		{storage.Use{At: used, ExpiresAt: expiry}, used, expiry, used, expiry},
		{storage.Use{At: used.Add(later)}, used.Add(later), expiry, used, expiry},
		{storage.Use{ExpiresAt: expiry.Add(later)}, used, expiry.Add(later), used, expiry},
		{storage.Use{At: used.Add(later), ExpiresAt: expiry.Add(later)}, used.Add(later), expiry.Add(later), used, expiry},
		{storage.Use{At: used.Add(later), ExpiresAt: expiry.Add(earlier)}, used.Add(later), expiry, used, expiry},
		{storage.Use{At: used.Add(earlier), ExpiresAt: expiry.Add(later)}, used, expiry.Add(later), used, expiry},
		{storage.Use{At: used.Add(earlier), ExpiresAt: expiry.Add(earlier)}, used, expiry, used, expiry},
		{storage.Use{At: time.UnixMilli(0), ExpiresAt: time.UnixMilli(0)}, used, expiry, used, expiry},
		{storage.Use{At: used, ExpiresAt: expiry}, used, expiry, zero, zero},
		{storage.Use{At: used}, used, zero, zero, zero},
	}
	var before, want []storage.Record
	for _, row := range rows {
		r := e.record("ana", base, expires(row.expiry), func(r *storage.Record) { r.LastUsedAt = row.usedAt })
		before = append(before, r)
		want = append(want, with(r, expires(row.expiresAt), func(r *storage.Record) { r.LastUsedAt = row.at }))
	}
	if err := e.put(before...); err != nil {
		return err
	}
	for i, row := range rows {
		if err := errors.Join(e.touch(before[i].ID, row.use), e.has(want[i])); err != nil {
			return fmt.Errorf("row %d: %w", i, err)
		}
	}
	return e.andReopened(func() error { return e.holds(want...) })
}

func checkLatestTouchWins(e *env) error {
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	later := func(i int) time.Duration { return time.Duration(i) * time.Second }
	err := together(callers, func(i int) error {
		return errors.Join(
			e.touch(r.ID, storage.Use{At: r.LastUsedAt.Add(later(i))}),
			e.touch(r.ID, storage.Use{ExpiresAt: r.ExpiresAt.Add(later(callers - i))}),
			e.touch(r.ID, storage.Use{At: r.LastUsedAt.Add(later(i / 2)), ExpiresAt: r.ExpiresAt.Add(later(i))}))
	})
	want := with(r, expires(r.ExpiresAt.Add(later(callers))),
		func(r *storage.Record) { r.LastUsedAt = r.LastUsedAt.Add(later(callers - 1)) })
	return errors.Join(err, e.andReopened(func() error { return e.has(want) }))
}

func checkTouchEnded(e *env) error {
	dead := []storage.Record{
		e.record("ana", ended(instant(1), storage.EndRevoked)),
		e.record("ana", ended(instant(1), storage.EndSubject), expires(instant(0))),
		e.record("ana", ended(time.UnixMilli(0).UTC(), storage.EndEvicted)),
	}
	if err := e.put(dead...); err != nil {
		return err
	}
	return e.andReopened(func() error {
		for _, r := range dead {
			use := storage.Use{At: r.LastUsedAt.Add(time.Hour), ExpiresAt: r.ExpiresAt.Add(time.Hour)}
			if err := e.touch(r.ID, use); err != nil {
				return err
			}
		}
		return errors.Join(e.has(dead...), e.holds(dead...), e.inTx(dead...))
	})
}

func checkTouchAbsent(e *env) error {
	there, absent := e.record("ana"), e.record("ana")
	use := storage.Use{At: absent.LastUsedAt, ExpiresAt: absent.ExpiresAt}
	if err := errors.Join(e.touch(absent.ID, use), e.put(there), e.touch(absent.ID, use)); err != nil {
		return err
	}
	err := e.andReopened(func() error { return errors.Join(e.lacks(absent), e.holds(there), e.inTx(there)) })
	// The Touch has no effect on a record that is put later, and reserves no ID.
	absent.Subject, absent.LastUsedAt, absent.ExpiresAt = rival, time.Time{}, instant(1)
	return errors.Join(err, e.put(absent), e.andReopened(func() error { return e.has(absent) }))
}

// checkLateTouch ends and deletes records that were touched, before the store may have written the
// Touch.
func checkLateTouch(e *env) error {
	end, due := e.record("ana"), e.record("bob", expires(instant(1)))
	if err := e.put(end, due); err != nil {
		return err
	}
	use := storage.Use{At: end.LastUsedAt.Add(time.Hour), ExpiresAt: end.ExpiresAt.Add(time.Hour)}
	err := errors.Join(
		e.touch(end.ID, use),
		e.touch(due.ID, storage.Use{At: due.LastUsedAt.Add(time.Hour)}))
	if err != nil {
		return err
	}
	use.Raise(&end)
	final := with(end, ended(instant(5), storage.EndRevoked))
	err = errors.Join(e.put(final), e.sweep(instant(2), 10, 1))
	return errors.Join(err, e.andReopened(func() error { return errors.Join(e.holds(final), e.lacks(due), e.has(final)) }))
}

func checkEndAmongTouches(e *env) error {
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	var final storage.Record
	err := together(callers, func(i int) error {
		if i == callers/2 {
			return e.change("ana", r.ID, func(r *storage.Record) {
				ended(instant(1), storage.EndRevoked)(r)
				final = *r
			})
		}
		later := time.Duration(i) * time.Second
		return e.touch(r.ID, storage.Use{At: r.LastUsedAt.Add(later), ExpiresAt: r.ExpiresAt.Add(later)})
	})
	return errors.Join(err, e.andReopened(func() error { return errors.Join(e.has(final), e.holds(final)) }))
}

func checkTouchSeen(e *env) error {
	r, other := e.record("ana", expires(instant(10))), e.record("ana")
	if err := e.put(r, other); err != nil {
		return err
	}
	use := storage.Use{At: r.LastUsedAt.Add(time.Minute), ExpiresAt: instant(20)}
	if err := e.touch(r.ID, use); err != nil {
		return err
	}
	use.Raise(&r)
	return errors.Join(
		e.has(r), e.holds(r, other), e.inTx(r, other),
		e.listed(storage.Filter{Subject: "ana"}, r, other),
		e.listed(storage.Filter{ExpiresBefore: instant(11)}),
		e.listed(storage.Filter{ExpiresBefore: instant(21)}, r),
		e.listed(storage.Filter{ExpiresBefore: instant(11), Subject: "ana"}),
		e.listed(storage.Filter{ExpiresBefore: instant(21), Subject: "ana"}, r),
		e.sweep(instant(11), 10, 0),
		e.has(r))
}

func checkTouchSurvives(e *env) error {
	rs := e.records(20, "ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	for i := range rs {
		use := storage.Use{At: rs[i].LastUsedAt.Add(time.Hour), ExpiresAt: rs[i].ExpiresAt.Add(time.Hour)}
		if err := e.touch(rs[i].ID, use); err != nil {
			return err
		}
		use.Raise(&rs[i])
	}
	for range 2 {
		if err := e.reopen(); err != nil {
			return err
		}
		if err := e.holds(rs...); err != nil {
			return err
		}
	}
	return nil
}
