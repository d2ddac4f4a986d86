package storagetest

import (
	"errors"
	"fmt"
	"slices"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// fitCases returns the cases for a store whose Tx is a storage.Fitter. PutIfFits may always return
// false, so that these ask only what is true once it has returned true.
func fitCases() []testCase {
	return []testCase{
		{"S36_never_over_the_limit", "Where PutIfFits returns true and Update returns nil, at most n records of the subject lived.",
			checkFits},
		{"S36_own_records_count", "The records that a Tx created count among the n of PutIfFits.",
			checkFitsOwn},
		{"S36_taken_id", "PutIfFits never replaces a record, of whichever subject.",
			checkFitsTaken},
		{"S36_false_does_nothing", "PutIfFits that returns false does nothing.",
			checkFitsNothing},
		{"S36_a_limit_holds", "What PutIfFits found is still so when the Update takes its place among the others of its subject.",
			func(e *env) error { return checkFitsRace(e, e) }},
	}
}

// sizeCases returns the case of S40.
func sizeCases() []testCase {
	return []testCase{{"S40_a_thousand_writes", "An Update may put and delete 1,000 records. One that is too large fails with ErrTooManyWrites, and has no effect.",
		checkSize}}
}

var errNoFits = errors.New("the Tx of the store counts its records: it is no storage.Fitter")

// asFitter returns errNoFits unless the Tx of the store is a storage.Fitter.
func (e *env) asFitter() error {
	err := e.update("ana", func(tx storage.Tx) error {
		if _, ok := tx.(storage.Fitter); !ok {
			return errNoFits
		}
		return nil
	})
	return err
}

// fit puts r by PutIfFits. It reports whether r was put.
func (e *env) fit(r storage.Record, n int) (put bool, err error) {
	err = e.update(r.Subject, func(tx storage.Tx) error {
		if tx.(storage.Fitter).PutIfFits(&r, n, instant(0)) {
			return nil
		}
		return errNo
	})
	if errors.Is(err, errNo) {
		return false, nil
	}
	return err == nil, err
}

func checkFits(e *env) error {
	if err := e.asFitter(); err != nil {
		return err
	}
	var errs []error
	for alive := range 5 {
		for limit := -1; limit < 6; limit++ {
			subject := fmt.Sprintf("subject %d.%d", alive, limit)
			there := append(e.records(alive, subject), e.record(subject, ended(instant(1), storage.EndRevoked)))
			r := e.record(subject)
			if err := e.put(there...); err != nil {
				return err
			}
			put, err := e.fit(r, limit)
			if put {
				there = append(there, r)
			}
			if put && alive > limit {
				err = errors.Join(err, fmt.Errorf("PutIfFits put a record where %d were alive, with a limit of %d", alive, limit))
			}
			if errs = append(errs, err, e.has(there...)); !put {
				errs = append(errs, e.lacks(r))
			}
		}
	}
	return errors.Join(errs...)
}

func checkFitsOwn(e *env) error {
	if err := e.asFitter(); err != nil {
		return err
	}
	rs := e.records(3, "ana")
	put := 0
	err := e.update("ana", func(tx storage.Tx) error {
		put = 1
		if err := tx.Put(rs[0]); err != nil {
			return err
		}
		for i := range rs[1:] {
			if tx.(storage.Fitter).PutIfFits(&rs[i+1], 1, instant(0)) {
				put++
			}
		}
		return nil
	})
	if err == nil && put > 2 {
		err = fmt.Errorf("a Tx put %d records, with a limit of 1 before the last", put)
	}
	listed, listing := e.list(storage.Filter{Subject: "ana"})
	return errors.Join(err, listing, diff("records", put, len(listed)))
}

func checkFitsTaken(e *env) error {
	if err := e.asFitter(); err != nil {
		return err
	}
	there := []storage.Record{e.record("ana"), e.record("ana", ended(instant(1), storage.EndRevoked)), e.record(rival), e.record("bob")}
	if err := e.put(there...); err != nil {
		return err
	}
	var errs []error
	for _, r := range there {
		r.Subject, r.Name = "ana", "another"
		put, err := e.fit(r, 100)
		if err != nil {
			err = wants("PutIfFits of an ID that is taken", err, storage.ErrConflict)
		}
		errs = append(errs, err, diff(fmt.Sprintf("whether PutIfFits has replaced %v", r.ID), false, put))
	}
	return errors.Join(append(errs, e.holds(there...))...)
}

func checkFitsNothing(e *env) error {
	if err := e.asFitter(); err != nil {
		return err
	}
	there, more := e.records(3, "ana"), e.record("ana")
	if err := e.put(there...); err != nil {
		return err
	}
	fits := false
	err := e.update("ana", func(tx storage.Tx) error {
		fits = tx.(storage.Fitter).PutIfFits(&more, 2, instant(0))
		return nil
	})
	return errors.Join(err, diff("PutIfFits over the limit", false, fits), e.holds(there...))
}

// checkFitsRace has callers put records within a limit, through both handles.
func checkFitsRace(e, other *env) error {
	if err := e.asFitter(); err != nil {
		return err
	}
	return raceForLimit(e, other, func(tx storage.Tx, r *storage.Record, limit int) error {
		if tx.(storage.Fitter).PutIfFits(r, limit-1, instant(0)) {
			return nil
		}
		return putWithin(tx, r, limit)
	})
}

// raceForLimit has callers put records within a limit, through both handles, by put, which returns errNo for a
// record that does not fit. Exactly as many as the limit may be put.
func raceForLimit(e, other *env, put func(tx storage.Tx, r *storage.Record, limit int) error) error {
	const limit = 5
	rs := e.records(callers, "ana")
	var refused atomic.Int64
	err := together(callers, func(i int) error {
		h := e
		if i%2 == 1 {
			h = other
		}
		err := h.update("ana", func(tx storage.Tx) error { return put(tx, &rs[i], limit) })
		if errors.Is(err, errNo) {
			refused.Add(1)
			return nil
		}
		return err
	})
	listed, listing := e.list(storage.Filter{Subject: "ana"})
	return errors.Join(err, listing, diff("records", limit, len(listed)), diff("refused", callers-limit, int(refused.Load())))
}

// putWithin puts r if fewer records than limit are alive, and returns errNo otherwise.
func putWithin(tx storage.Tx, r *storage.Record, limit int) error {
	n := 0
	for _, err := range tx.Living(instant(0)) {
		if err != nil {
			return err
		}
		n++
	}
	if n >= limit {
		return errNo
	}
	return tx.Put(*r)
}

func checkSize(e *env) error {
	rs := e.records(1000, "ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	kept, gone := rs[:500], rs[500:]
	for i := range kept {
		kept[i].Name = "changed"
	}
	err := e.update("ana", func(tx storage.Tx) error { return errors.Join(puts(kept...)(tx), deletes(gone...)(tx)) })
	if err := errors.Join(err, e.holds(kept...)); err != nil {
		return err
	}
	many := e.records(3000, "bob")
	err = e.put(many...)
	if errors.Is(err, storage.ErrTooManyWrites) {
		many, err = nil, nil
	}
	return errors.Join(err, e.andReopened(func() error { return e.holds(slices.Concat(kept, many)...) }))
}
