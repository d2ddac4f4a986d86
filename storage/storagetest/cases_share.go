package storagetest

import (
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// shareCases returns the cases for a store that several processes use at once. A second handle stands
// for the second process.
func shareCases() []testCase {
	return []testCase{
		{"S6_no_update_is_lost_across_processes", "Serializable over one subject: Updates of two processes act as if one came after the other.",
			across(checkCounterAcross)},
		{"S6_a_limit_holds_across_processes", "Serializable over one subject: what fn found is still so when its puts happen, whichever process puts.",
			across(func(e, other *env) error { return raceForLimit(e, other, putWithin) })},
		{"S33_a_suspension_by_another_process", "Touch of a record that another process has suspended or resumed, however late it is written, never changes that.",
			across(checkSuspensionAcross)},
		{"S36_a_limit_holds_across_processes", "What PutIfFits found is still so when the Update takes its place, whichever process puts.",
			across(checkFitsRace)},
		{"S7_taken_id_across_processes", "An ID that a subject of another process holds is ErrConflict.",
			across(checkTakenAcross)},
		{"S8_an_end_is_final_across_processes", "Put never revives a record that another process has ended or deleted.",
			across(checkEndAcross)},
		{"S12_late_touch_across_processes", "Touch of a record that another process has ended, deleted or swept changes nothing, however late it is written.",
			across(checkTouchAcross)},
		{"S18_renewed_by_another_process", "Sweep judges a record at the moment at which it deletes it: a record renewed by another process survives.",
			across(checkSweepAcross)},
		{"S18_renewals_and_sweeps_at_once", "A record is either renewed by one process or swept by another, and never both.",
			across(checkSweepRace)},
		{"S20_close_of_one_process", "Close ends the calls of its own process alone.",
			across(checkCloseAcross)},
		{"S27_replaced_by_another_process", "Other processes read a new Digest within a bound, and always with its own Sealed.",
			across(checkSecretAcross)},
		{"S37_replaced_by_another_process", "Cached returns no copy from before an Update of another process once a bound has passed.",
			across(checkCopyAcross)},
	}
}

var errNoShare = errors.New("one process at a time uses the store: the backend has no Share")

// across returns check with an environment for each of two handles on the same data.
func across(check func(e, other *env) error) func(*env) error {
	return func(e *env) error {
		other, err := e.share()
		if err != nil {
			return err
		}
		return check(e, other)
	}
}

func checkCounterAcross(e, other *env) error {
	r := e.record("ana", counted(0))
	if err := e.put(r); err != nil {
		return err
	}
	err := together(callers, func(i int) error {
		if i%2 == 0 {
			return other.increment("ana", r.ID)
		}
		return e.increment("ana", r.ID)
	})
	want := with(r, counted(callers))
	return errors.Join(err, e.inTx(want), other.inTx(want))
}

func checkTakenAcross(e, other *env) error {
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	theirs := with(r, func(r *storage.Record) { r.Subject = rival })
	return errors.Join(wants("Put of an ID that another subject holds", other.put(theirs), storage.ErrConflict), e.inTx(r))
}

func checkEndAcross(e, other *env) error {
	rs := e.records(2, "ana")
	if err := errors.Join(e.put(rs...), other.inTx(rs...)); err != nil {
		return err
	}
	dead := with(rs[0], ended(instant(1), storage.EndRevoked), endedBy("support", "lost"))
	if err := e.update("ana", func(tx storage.Tx) error { return errors.Join(tx.Put(dead), tx.Delete(rs[1].ID)) }); err != nil {
		return err
	}
	revival := other.put(with(rs[0], named("revived")))
	change := other.change("ana", rs[1].ID, named("revived"))
	return errors.Join(wants("Put without the end", revival, storage.ErrConflict), wants("Tx.Get of what was deleted", change, storage.ErrNotFound),
		e.inTx(dead), other.inTx(dead), other.store.Close(), e.holds(dead))
}

func checkTouchAcross(e, other *env) error {
	end, gone, due := e.record("ana"), e.record("ana"), e.record("ana", expires(instant(5)))
	if err := errors.Join(e.put(end, gone, due), other.has(end, gone, due)); err != nil {
		return err
	}
	dead := with(end, ended(instant(7), storage.EndRevoked))
	if err := e.update("ana", func(tx storage.Tx) error { return errors.Join(tx.Put(dead), tx.Delete(gone.ID)) }); err != nil {
		return err
	}
	if err := e.sweep(instant(6), 10, 1); err != nil {
		return err
	}
	for _, r := range []storage.Record{end, gone, due} {
		if err := other.touch(r.ID, storage.Use{At: r.LastUsedAt.Add(time.Hour), ExpiresAt: r.ExpiresAt.Add(time.Hour)}); err != nil {
			return err
		}
	}
	return errors.Join(e.inTx(dead), other.store.Close(), e.inTx(dead), e.holds(dead), e.lacks(gone, due))
}

func checkSuspensionAcross(e, other *env) error {
	const n = 8
	rs := e.records(n, "ana")
	for i := range rs[:n/2] {
		suspended(instant(1))(&rs[i])
	}
	touch := func(minute time.Duration) (err error) {
		for i := range rs {
			use := storage.Use{At: rs[i].IssuedAt.Add(minute), ExpiresAt: rs[i].ExpiresAt.Add(time.Minute)}
			err = errors.Join(err, other.touch(rs[i].ID, use))
			use.Raise(&rs[i])
		}
		return err
	}
	if err := errors.Join(e.put(rs...), other.has(rs...), touch(time.Minute)); err != nil {
		return err
	}
	for i := range rs {
		to := time.Time{}
		if i >= n/2 {
			to = instant(2)
		}
		suspended(to)(&rs[i])
		if err := e.change("ana", rs[i].ID, suspended(to)); err != nil {
			return err
		}
	}
	err := errors.Join(touch(2*time.Minute), other.eventually(func() error { return other.has(rs...) }))
	return errors.Join(err, other.store.Close(), e.holds(rs...))
}

func checkSweepAcross(e, other *env) error {
	rs := e.records(6, "ana", expires(instant(5)))
	if err := errors.Join(e.put(rs...), other.has(rs...), e.has(rs...)); err != nil {
		return err
	}
	for i := range rs[:3] {
		expires(instant(100))(&rs[i])
	}
	return errors.Join(other.put(rs[:3]...), e.sweep(instant(6), 10, 3), e.holds(rs[:3]...), other.inTx(rs[:3]...))
}

func checkSweepRace(e, other *env) error {
	const rounds = 20
	for range rounds {
		rs := e.records(8, "ana", expires(instant(5)))
		if err := errors.Join(e.put(rs...), other.has(rs...)); err != nil {
			return err
		}
		renewed := make([]bool, len(rs))
		err := together(len(rs)+2, func(i int) error {
			if i >= len(rs) {
				_, err := e.store.Sweep(e.ctx, instant(6), len(rs))
				return err
			}
			err := other.change("ana", rs[i].ID, expires(instant(100)))
			if renewed[i] = err == nil; errors.Is(err, storage.ErrNotFound) {
				return nil
			}
			return err
		})
		var left []storage.Record
		for i, r := range rs {
			if renewed[i] {
				left = append(left, with(r, expires(instant(100))))
			}
		}
		if err := errors.Join(err, e.inTx(left...), e.update("ana", deletes(left...))); err != nil {
			return err
		}
	}
	return e.empty("ana")
}

func checkCloseAcross(e, other *env) error {
	r, later := e.record("ana"), e.record("ana")
	if err := errors.Join(e.put(r), other.has(r), other.store.Close()); err != nil {
		return err
	}
	_, err := other.store.Get(e.ctx, r.ID)
	return errors.Join(wants("Get after Close", err, storage.ErrClosed), e.put(later), e.has(r, later), e.holds(r, later))
}

func checkSecretAcross(e, other *env) error {
	r := e.record("ana", rotated(0))
	if err := errors.Join(e.put(r), other.has(r)); err != nil {
		return err
	}
	for n := 1; n <= 20; n++ {
		rotated(n)(&r)
		if err := errors.Join(e.change("ana", r.ID, rotated(n)), e.has(r)); err != nil {
			return err
		}
		for name, read := range other.readers() {
			torn := error(nil)
			err := other.eventually(func() error {
				got, err := read("ana", r.ID)
				if err == nil {
					_, err = secretOf(got)
					torn = errors.Join(torn, err)
				}
				return errors.Join(err, sameRecord("the record", r, got))
			})
			if err == nil {
				err = torn
			}
			if err != nil {
				return fmt.Errorf("%s of another process: %w", name, err)
			}
		}
	}
	return nil
}

func checkCopyAcross(e, other *env) error {
	c, err := other.cacher()
	if err != nil {
		return err
	}
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	for n := 1; n <= 20; n++ {
		if err := errors.Join(other.has(r), e.change("ana", r.ID, counted(n))); err != nil {
			return err
		}
		counted(n)(&r)
		err := other.eventually(func() error {
			got, ok := c.Cached(r.ID)
			if !ok {
				return nil
			}
			return sameRecord("Cached", r, got)
		})
		if err != nil {
			return err
		}
	}
	return nil
}
