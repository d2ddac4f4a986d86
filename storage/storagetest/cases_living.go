package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func livingCases() []testCase {
	return []testCase{
		{"S30_whole_and_in_order", "Living yields every record of the subject that lives, in ID order and each once.",
			checkLivingWhole},
		{"S30_own_writes", "Living yields what the same Tx put and lives, and nothing that it deleted.",
			checkLivingOwn},
		{"S30_written_while_iterating", "The loop body of Living may Put and Delete; what it creates is not among those yet to come.",
			checkLivingWhileIterating},
		{"S30_earlier_now", "Living holds for a now that is earlier than in a call before.",
			checkLivingEarlier},
		{"S30_late_touch", "Living yields a record that a Touch raised after it was found dead.",
			checkLivingTouched},
		{"S30_put_raises", "Living yields a record that an Update raised after it was found dead.",
			checkLivingRaised},
		{"S30_touched_among_walks", "Living yields what a Touch has raised before, among others that ask.",
			checkLivingAtOnce},
	}
}

// live returns the records that Living yields and that live at now. It checks their order.
func live(tx storage.Tx, now time.Time) (all []storage.Record, err error) {
	var last storage.ID
	for r, err := range tx.Living(now) {
		switch {
		case err != nil:
			return all, fmt.Errorf("Tx.Living: %w", err)
		case last != storage.ID{} && r.ID.Compare(last) <= 0:
			return all, fmt.Errorf("Tx.Living yields %v after %v", r.ID, last)
		}
		if last = r.ID; r.Live(now) {
			all = append(all, r)
		}
	}
	return all, nil
}

// lives checks that tx yields the records of rs that live at now. rs are all records of the subject
// as tx sees it.
func lives(tx storage.Tx, now time.Time, rs ...storage.Record) error {
	got, err := live(tx, now)
	if err != nil {
		return err
	}
	want := slices.DeleteFunc(sorted(rs...), func(r storage.Record) bool { return !r.Live(now) })
	return sameRecords(fmt.Sprintf("what Tx.Living yields and lives at %v", now.Format(time.RFC3339Nano)), want, got)
}

// living does the same as lives in an Update of its own, for each of nows.
func (e *env) living(subject string, rs []storage.Record, nows ...time.Time) error {
	return e.update(subject, func(tx storage.Tx) error {
		for _, now := range nows {
			if err := lives(tx, now, rs...); err != nil {
				return err
			}
		}
		return nil
	})
}

// mixedExpiries returns records of subject that expire at the instants 10, 20, and so on. Some of
// them have an end before or after that. They are in no particular order.
func (e *env) mixedExpiries(n int, subject string) []storage.Record {
	rs := e.records(n, subject)
	for i := range rs {
		at := int64(10 * (1 + i*7%n))
		switch expires(instant(at))(&rs[i]); i % 5 {
		case 3:
			ended(instant(at-5), storage.EndRevoked)(&rs[i])
		case 4:
			ended(instant(at+5), storage.EndSubject)(&rs[i])
		}
	}
	return rs
}

func checkLivingWhole(e *env) error {
	anas, bobs := e.mixedExpiries(40, "ana"), e.mixedExpiries(20, "bob")
	if err := e.put(append(slices.Clone(anas), bobs...)...); err != nil {
		return err
	}
	return e.andReopened(func() error {
		var errs []error
		for _, ms := range []int64{0, 9, 10, 11, 100, 199, 200, 201, 399, 400, 401} {
			errs = append(errs, e.living("ana", anas, instant(ms)), e.living("bob", bobs, instant(ms)), e.living("carl", nil, instant(ms)))
		}
		return errors.Join(append(errs, e.holds(append(slices.Clone(anas), bobs...)...), e.inTx(anas...))...)
	})
}

func checkLivingOwn(e *env) error {
	at := instant(100)
	rs := e.records(8, "ana", expires(instant(200)))
	expires(instant(50))(&rs[1])
	expires(instant(60))(&rs[2])
	ended(instant(40), storage.EndRevoked)(&rs[3])
	if err := errors.Join(e.put(rs[:6]...), e.living("ana", rs[:6], at)); err != nil {
		return err
	}
	now := slices.Clone(rs)
	err := e.update("ana", func(tx storage.Tx) error {
		copy(now, rs)
		expires(instant(300))(&now[1]) // lives again
		named("dead still")(&now[2])   // does not
		ended(instant(90), storage.EndRevoked)(&now[4])
		lowered(instant(100))(&now[5]) // dies at that very instant
		expires(instant(100))(&now[7]) // never lived
		for _, r := range now {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		if err := errors.Join(lives(tx, at, now...), lives(tx, instant(99), now...), lives(tx, instant(55), now...), lives(tx, instant(250), now...)); err != nil {
			return err
		}
		now[0] = with(now[0], named("put again"))
		if err := errors.Join(tx.Put(now[0]), tx.Delete(now[6].ID), tx.Delete(now[1].ID)); err != nil {
			return err
		}
		return lives(tx, at, slices.Concat(now[:1], now[2:6], now[7:])...)
	})
	left := slices.Concat(now[:1], now[2:6], now[7:])
	return errors.Join(err, e.andReopened(func() error { return e.living("ana", left, at, instant(99), instant(55)) }))
}

func checkLivingWhileIterating(e *env) error {
	rs := e.records(8, "ana", expires(instant(200)))
	if err := e.put(rs[1], rs[3], rs[5], rs[6]); err != nil {
		return err
	}
	var came []storage.ID
	err := e.update("ana", func(tx storage.Tx) error {
		came = nil
		for r, err := range tx.Living(instant(100)) {
			if err != nil {
				return err
			}
			came = append(came, r.ID)
			errs := []error{tx.Put(with(r, named("seen")))}
			if len(came) == 1 {
				errs = append(errs, tx.Put(rs[0]), tx.Put(rs[2]), tx.Put(rs[7]), tx.Delete(rs[5].ID))
			}
			if err := errors.Join(errs...); err != nil {
				return err
			}
		}
		for range tx.Living(instant(100)) {
			break // an iteration that stops early must not disturb later ones
		}
		return nil
	})
	left := []storage.Record{rs[0], with(rs[1], named("seen")), rs[2], with(rs[3], named("seen")), with(rs[6], named("seen")), rs[7]}
	return errors.Join(err, diff("IDs that Tx.Living yielded", []storage.ID{rs[1].ID, rs[3].ID, rs[6].ID}, came),
		e.holds(left...), e.living("ana", left, instant(100)))
}

func checkLivingEarlier(e *env) error {
	rs := e.mixedExpiries(60, "ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	nows := []time.Time{instant(700), instant(300), instant(301), instant(10), instant(600), instant(9), instant(450), instant(700)}
	return e.andReopened(func() error {
		var errs []error
		for _, now := range nows {
			errs = append(errs, e.living("ana", rs, now))
		}
		return errors.Join(append(errs, e.living("ana", rs, nows...))...)
	})
}

func checkLivingTouched(e *env) error {
	rs := e.mixedExpiries(40, "ana")
	if err := errors.Join(e.put(rs...), e.living("ana", rs, instant(500))); err != nil {
		return err
	}
	for i := range rs {
		if i%3 > 0 {
			continue
		}
		use := storage.Use{ExpiresAt: instant(int64(600 + i))}
		if err := e.touch(rs[i].ID, use); err != nil {
			return err
		}
		use.Raise(&rs[i])
		if err := e.living("ana", rs, instant(500), instant(int64(600+i-1)), instant(int64(600+i)), instant(200)); err != nil {
			return err
		}
	}
	return e.andReopened(func() error { return e.living("ana", rs, instant(500), instant(610), instant(300)) })
}

func checkLivingRaised(e *env) error {
	rs := e.mixedExpiries(30, "ana")
	if err := errors.Join(e.put(rs...), e.living("ana", rs, instant(500))); err != nil {
		return err
	}
	for i := range rs {
		expires(instant(int64(600 + i)))(&rs[i])
		err := e.update("ana", func(tx storage.Tx) error { return errors.Join(lives(tx, instant(700)), tx.Put(rs[i])) })
		if err := errors.Join(err, e.living("ana", rs, instant(500), instant(int64(600+i)), instant(100))); err != nil {
			return err
		}
	}
	return e.andReopened(func() error { return e.living("ana", rs, instant(500), instant(615)) })
}

// checkLivingAtOnce raises records while other goroutines call Living. A goroutine that calls
// Living after its own Touch finds the record, even if others have found it dead before.
func checkLivingAtOnce(e *env) error {
	const each = 6
	rs := e.records(callers/4*each, "ana", expires(instant(10)))
	if err := e.put(rs...); err != nil {
		return err
	}
	return together(callers/4, func(i int) error {
		for _, r := range rs[i*each : (i+1)*each] {
			use := storage.Use{ExpiresAt: instant(1000)}
			if err := e.touch(r.ID, use); err != nil {
				return err
			}
			use.Raise(&r)
			err := e.update("ana", func(tx storage.Tx) error {
				all, err := live(tx, instant(500))
				if err == nil && !slices.ContainsFunc(all, r.Equal) {
					err = fmt.Errorf("Tx.Living does not yield %v, which a Touch had raised before", r.ID)
				}
				return err
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
