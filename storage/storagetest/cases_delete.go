package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func deleteCases() []testCase {
	return []testCase{
		{"S31_deleted_is_gone", "A record that Delete removed is gone for every method once Update returns.",
			checkDeletedGone},
		{"S31_gone_in_the_same_tx", "A record that Delete removed is gone for the same Tx, and a Put of its ID there is ErrConflict.",
			checkGoneInTx},
		{"S31_nothing_to_delete", "Delete of an ID that was never put, or that is another subject's, is ErrNotFound and has no effect.",
			checkNothingToDelete},
		{"S31_own_creation", "Delete of what the same Tx created leaves nothing behind.",
			checkDeleteOwn},
		{"S31_aborted_delete", "A Delete whose Update is aborted leaves the record as it is.",
			checkAbortedDelete},
		{"S31_late_touch", "A Touch of a record that Delete removed, however late, creates nothing.",
			checkTouchDeleted},
		{"S31_touches_at_once", "A Touch of a record that Delete removes meanwhile creates nothing.",
			checkTouchWhileDeleted},
		{"S31_put_later", "An ID that Delete removed may be put by a later Update, of another subject, too, and nothing of the old record is left.",
			checkPutAfterDelete},
		{"S31_delete_while_iterating", "The loop body of Records may Delete what it is at, and what is to come.",
			checkDeleteWhileIterating},
		{"S23_tells_deletions", "A watch tells every record that an Update deletes which began after the Gap.",
			checkTellsDeletions},
	}
}

// deletes returns a function for Update that deletes rs.
func deletes(rs ...storage.Record) func(storage.Tx) error {
	return func(tx storage.Tx) error {
		for _, r := range rs {
			if err := tx.Delete(r.ID); err != nil {
				return fmt.Errorf("Tx.Delete: %w", err)
			}
		}
		return nil
	}
}

// mixedKinds returns records of subject of every kind. The first and the last of them live.
func (e *env) mixedKinds(subject string) []storage.Record {
	return []storage.Record{
		e.record(subject), e.record(subject, expires(instant(1))), e.record(subject, ended(instant(2), storage.EndRevoked)),
		e.record(subject, named("")), e.record(subject, expires(time.Time{})), e.record(subject),
	}
}

func checkDeletedGone(e *env) error {
	rs := e.mixedKinds("ana")
	if err := errors.Join(e.put(rs...), e.living("ana", rs, instant(0))); err != nil {
		return err
	}
	gone, left := rs[:5], rs[5:]
	if err := e.update("ana", deletes(gone...)); err != nil {
		return err
	}
	err := e.andReopened(func() error {
		return errors.Join(
			e.lacks(gone...), e.holds(left...), e.inTx(left...), e.living("ana", left, instant(0)),
			e.listed(storage.Filter{Subject: "ana"}, left...), e.listed(storage.Filter{Subject: "ana", ExpiresBefore: instant(2)}),
			e.sweep(instant(3), 10, 0))
	})
	bobs := e.mixedKinds("bob")
	return errors.Join(err, e.put(bobs...), e.update("ana", deletes(left...)), e.empty("ana"),
		e.andReopened(func() error { return errors.Join(e.empty("ana"), e.holds(bobs...), e.inTx(bobs...)) }))
}

func checkGoneInTx(e *env) error {
	rs := e.mixedKinds("ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	err := e.update("ana", func(tx storage.Tx) error {
		if err := errors.Join(tx.Put(with(rs[0], named("put before"))), deletes(rs[:5]...)(tx), sees(tx, rs[5]), lives(tx, instant(0), rs[5])); err != nil {
			return err
		}
		for _, r := range rs[:5] {
			_, err := tx.Get(r.ID)
			err = errors.Join(wants("Tx.Get of what was deleted", err, storage.ErrNotFound),
				wants("Tx.Delete once more", tx.Delete(r.ID), storage.ErrNotFound))
			if err != nil {
				return err
			}
		}
		return nil
	})
	if err := errors.Join(err, e.holds(rs[5])); err != nil {
		return err
	}
	again := e.update("ana", func(tx storage.Tx) error {
		return errors.Join(tx.Delete(rs[5].ID), tx.Put(rs[5]))
	})
	return errors.Join(wants("Put after Delete in one Update", again, storage.ErrConflict), e.andReopened(func() error { return e.holds(rs[5]) }))
}

func checkNothingToDelete(e *env) error {
	mine, absent := e.record("ana"), e.record("ana")
	theirs := []storage.Record{e.record(rival), e.record(rival, ended(instant(1), storage.EndRevoked))}
	if err := e.put(append(theirs, mine)...); err != nil {
		return err
	}
	return e.andReopened(func() error {
		var errs []error
		for _, r := range append(slices.Clone(theirs), absent, storage.Record{}) {
			errs = append(errs, e.update("ana", func(tx storage.Tx) error {
				return wants(fmt.Sprintf("Tx.Delete of %v", r.ID), tx.Delete(r.ID), storage.ErrNotFound)
			}))
		}
		all := append(slices.Clone(theirs), mine)
		return errors.Join(append(errs, e.holds(all...), e.inTx(all...))...)
	})
}

func checkDeleteOwn(e *env) error {
	there, fresh := e.record("ana"), e.records(4, "ana")
	if err := e.put(there); err != nil {
		return err
	}
	err := e.update("ana", func(tx storage.Tx) error {
		return errors.Join(puts(fresh...)(tx), deletes(fresh[0], fresh[2])(tx), sees(tx, there, fresh[1], fresh[3]), deletes(fresh[3])(tx))
	})
	err = errors.Join(err, e.andReopened(func() error {
		return errors.Join(e.holds(there, fresh[1]), e.inTx(there, fresh[1]), e.lacks(fresh[0], fresh[2], fresh[3]))
	}))
	fresh[0].Subject = rival // no record has its ID
	return errors.Join(err, e.put(fresh[0]), e.has(fresh[0]))
}

func checkAbortedDelete(e *env) error {
	rs := e.mixedKinds("ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	err := e.update("ana", func(tx storage.Tx) error {
		return errors.Join(deletes(rs...)(tx), sees(tx), errNo)
	})
	if err := wants("Update", err, errNo); err != nil {
		return err
	}
	return e.andReopened(func() error {
		return errors.Join(e.holds(rs...), e.has(rs...), e.inTx(rs...), e.living("ana", rs, instant(0)))
	})
}

func checkTouchDeleted(e *env) error {
	rs, left := e.records(20, "ana"), e.record("ana")
	if err := e.put(append(rs, left)...); err != nil {
		return err
	}
	touch := func() (err error) {
		for i, r := range rs {
			use := storage.Use{At: r.LastUsedAt.Add(time.Hour), ExpiresAt: r.ExpiresAt.Add(time.Duration(i) * time.Hour)}
			err = errors.Join(err, e.touch(r.ID, use))
		}
		return err
	}
	if err := errors.Join(touch(), e.update("ana", deletes(rs...)), touch()); err != nil {
		return err
	}
	return e.andReopened(func() error {
		return errors.Join(e.lacks(rs...), e.holds(left), e.inTx(left), touch(), e.holds(left))
	})
}

func checkTouchWhileDeleted(e *env) error {
	const touchers, each = 4, 6
	rs := e.records(touchers*each, "ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	err := together(touchers+1, func(i int) error {
		for n := range each {
			if i == touchers {
				if err := e.update("ana", deletes(rs[n*touchers:(n+1)*touchers]...)); err != nil {
					return err
				}
				continue
			}
			for n := range touchers * each {
				r := rs[n]
				if err := e.touch(r.ID, storage.Use{At: r.ExpiresAt, ExpiresAt: r.ExpiresAt.Add(time.Hour)}); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return errors.Join(err, e.holds(), e.andReopened(func() error { return errors.Join(e.lacks(rs...), e.holds(), e.empty("ana")) }))
}

func checkPutAfterDelete(e *env) error {
	var last []storage.Record
	for _, subject := range []string{"ana", rival} {
		for _, old := range e.mixedKinds("ana") {
			fresh := e.record(subject, func(r *storage.Record) { r.ID = old.ID })
			fresh.LastUsedAt, fresh.ExpiresAt = time.Time{}, instant(10) // lower than a Touch has made it
			use := storage.Use{At: old.LastUsedAt.Add(time.Hour), ExpiresAt: old.ExpiresAt.Add(time.Hour)}
			err := errors.Join(e.put(old), e.touch(old.ID, use), e.update("ana", deletes(old)), e.put(fresh), e.has(fresh))
			if err != nil {
				return err
			}
			err = errors.Join(e.has(fresh), e.inTx(fresh), e.living(subject, []storage.Record{fresh}, instant(0), instant(10)))
			if err := errors.Join(err, e.update(subject, deletes(fresh))); err != nil {
				return err
			}
			named("put once more")(&fresh)
			last = append(last, fresh)
		}
	}
	return errors.Join(e.holds(), e.put(last...), e.andReopened(func() error {
		return errors.Join(e.has(last...), e.holds(last...), e.inTx(last...))
	}))
}

func checkDeleteWhileIterating(e *env) error {
	rs := e.records(9, "ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	var came []storage.ID
	err := e.update("ana", func(tx storage.Tx) error {
		came = nil
		for r, err := range tx.Records() {
			if err != nil {
				return err
			}
			came = append(came, r.ID)
			if len(came)%2 == 0 {
				continue
			}
			next := slices.IndexFunc(rs, func(o storage.Record) bool { return o.ID == r.ID }) + 1
			if err := deletes(append([]storage.Record{r}, rs[next:min(next+1, len(rs))]...)...)(tx); err != nil {
				return err
			}
		}
		return nil
	})
	// 0 goes with 1, then 2 stays, 3 goes with 4, and so on.
	return errors.Join(err, diff("IDs that Tx.Records yielded", []storage.ID{rs[0].ID, rs[2].ID, rs[3].ID, rs[5].ID, rs[6].ID, rs[8].ID}, came),
		e.andReopened(func() error { return e.holds(rs[2], rs[5], rs[8]) }))
}

func checkTellsDeletions(e *env) error {
	rs := e.mixedKinds("ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	pairs, err := e.listening(ctx)
	if err != nil {
		return err
	}
	if err := errors.Join(e.update("ana", deletes(rs[0])), e.told(pairs, rs[0])); err != nil {
		return err
	}
	err = e.update("ana", func(tx storage.Tx) error {
		return errors.Join(tx.Put(with(rs[1], named("renamed"))), deletes(rs[2], rs[3])(tx))
	})
	return errors.Join(err, e.told(pairs, rs[1:4]...))
}
