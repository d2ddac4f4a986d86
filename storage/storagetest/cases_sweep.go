package storagetest

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func sweepCases() []testCase {
	return []testCase{
		{"S16_the_instant_itself_stays", "Sweep deletes only records that were dead before the instant; one that died at that very instant stays.",
			checkSweepBoundary},
		{"S16_far_instants", "Sweep deletes only records that were dead before the instant, whatever year it is.",
			checkSweepYears},
		{"S17_at_most_limit", "Sweep deletes at most limit records, says how many, and fewer than limit means that none is left.",
			checkSweepLimit},
		{"S17_no_limit_deletes_none", "Sweep deletes none for a limit below 1.",
			checkSweepNone},
		{"S17_fewer_means_none_left", "Fewer than limit means that none is left, even where an index knows of records that were renewed.",
			checkSweepAmongRenewed},
		{"S17_swept_is_gone", "What Sweep deleted is gone, in every method.",
			checkSweptIsGone},
		{"S17_each_is_counted_once", "Sweep says how many it deleted, also among others that sweep.",
			checkSweepers},
		{"S18_renewed_by_touch_survives", "Sweep judges by what is stored when it deletes: a record renewed meanwhile by Touch survives.",
			checkRenewed(func(e *env, r storage.Record, to time.Time) error {
				return e.touch(r.ID, storage.Use{ExpiresAt: to})
			})},
		{"S18_renewed_by_update_survives", "Sweep judges by what is stored when it deletes: a record renewed meanwhile by Update survives.",
			checkRenewed(func(e *env, r storage.Record, to time.Time) error {
				return e.change(r.Subject, r.ID, expires(to))
			})},
		{"S18_renewed_during_sweep_survives", "Sweep judges by what is stored when it deletes: what a Touch has renewed while it runs survives.",
			checkRenewedDuring},
	}
}

// checkSweepBoundary sweeps at one instant after the other. The first Sweep whose instant is after
// the death of a record deletes it.
func checkSweepBoundary(e *env) error {
	far := instant(1000)
	deaths := [][]storage.Record{
		99: {e.record("ana", expires(instant(99))), e.record("ana", expires(far), ended(instant(99), storage.EndSubject)),
			e.record("ana", expires(far), ended(instant(99), storage.EndRotated))},
		100: {e.record("bob", expires(instant(100))), e.record("bob", expires(far), ended(instant(100), storage.EndRevoked))},
		101: {e.record("ana", expires(instant(101))), e.record("bob", expires(instant(101)), ended(instant(102), storage.EndRevoked))},
		102: {e.record("ana", expires(instant(102)), ended(instant(102), storage.EndEvicted))},
	}
	left := slices.Concat(slices.Concat(deaths...), e.records(3, "ana"))
	if err := e.put(sortedBySubject(left)...); err != nil {
		return err
	}
	for ms := 98; ms <= 105; ms++ {
		var want []storage.Record
		if ms-1 < len(deaths) {
			want = deaths[ms-1]
		}
		left = slices.DeleteFunc(left, func(r storage.Record) bool { return slices.ContainsFunc(want, r.Equal) })
		if err := errors.Join(e.sweep(instant(int64(ms)), 100, len(want)), e.holds(left...)); err != nil {
			return fmt.Errorf("at %d ms: %w", ms, err)
		}
	}
	return e.andReopened(func() error { return e.holds(left...) })
}

// checkSweepYears has a record die at each of the instants at which a store's representation of
// time may break.
func checkSweepYears(e *env) error {
	var rs []storage.Record
	for _, at := range instants() {
		rs = append(rs, e.record("ana", expires(at)))
	}
	if err := e.put(rs...); err != nil {
		return err
	}
	last := len(rs) - 1 // it dies at the latest instant
	for i, r := range rs[:last] {
		err := errors.Join(e.sweep(r.ExpiresAt, 10, 0), e.holds(rs[i:]...),
			e.sweep(r.ExpiresAt.Add(time.Millisecond), 10, 1), e.holds(rs[i+1:]...))
		if err != nil {
			return fmt.Errorf("a record that died at %v: %w", r.ExpiresAt, err)
		}
	}
	return errors.Join(e.sweep(rs[last].ExpiresAt, 10, 0), e.holds(rs[last]))
}

func checkSweepLimit(e *env) error {
	due := e.records(10, "ana", expires(instant(1)))
	alive := e.records(10, "ana")
	if err := e.put(slices.Concat(alive[:5], due, alive[5:])...); err != nil {
		return err
	}
	left := len(due)
	for _, limit := range []int{1, 4, 3, 4} {
		want := min(limit, left)
		if err := e.sweep(instant(2), limit, want); err != nil {
			return err
		}
		left -= want
		listed, err := e.list(storage.Filter{})
		if err := errors.Join(err, diff("records left", len(alive)+left, len(listed))); err != nil {
			return err
		}
	}
	return errors.Join(e.sweep(instant(2), 1, 0), e.sweep(instant(2), math.MaxInt, 0), e.holds(alive...))
}

func checkSweepNone(e *env) error {
	due := e.records(3, "ana", expires(instant(1)))
	if err := e.put(due...); err != nil {
		return err
	}
	return errors.Join(
		e.sweep(instant(2), 0, 0), e.sweep(instant(2), -1, 0), e.sweep(instant(2), math.MinInt, 0), e.holds(due...),
		e.sweep(time.Time{}, 10, 0), e.holds(due...),
		e.sweep(instant(2), math.MaxInt, 3), e.holds())
}

func checkSweepAmongRenewed(e *env) error {
	rs := e.records(20, "ana", expires(instant(1)))
	if err := e.put(rs...); err != nil {
		return err
	}
	var renewed []storage.Record
	for i := 0; i < len(rs); i += 2 {
		use := storage.Use{ExpiresAt: instant(9)}
		if err := e.touch(rs[i].ID, use); err != nil {
			return err
		}
		use.Raise(&rs[i])
		renewed = append(renewed, rs[i])
	}
	return errors.Join(
		e.sweep(instant(2), 3, 3), e.sweep(instant(2), 6, 6), e.sweep(instant(2), 3, 1),
		e.holds(renewed...),
		e.sweep(instant(10), 4, 4), e.sweep(instant(10), 4, 4), e.sweep(instant(10), 4, 2),
		e.holds())
}

func checkSweptIsGone(e *env) error {
	due := append(e.records(2, "ana", expires(instant(1))), e.record("carl", ended(instant(1), storage.EndRevoked)))
	alive := []storage.Record{e.record("ana"), e.record("bob")}
	if err := e.put(append(due, alive...)...); err != nil {
		return err
	}
	if err := e.sweep(instant(2), 10, 3); err != nil {
		return err
	}
	return e.andReopened(func() error {
		return errors.Join(
			e.lacks(due...), e.holds(alive...), e.inTx(alive...), e.empty("carl"),
			e.listed(storage.Filter{ExpiresBefore: instant(3)}),
			e.sweep(instant(2), 10, 0))
	})
}

func checkSweepers(e *env) error {
	due, alive := e.records(60, "ana", expires(instant(1))), e.record("bob")
	if err := e.put(append(due, alive)...); err != nil {
		return err
	}
	var deleted atomic.Int64
	err := together(4, func(int) error {
		for {
			n, err := e.store.Sweep(e.ctx, instant(2), 7)
			deleted.Add(int64(n))
			if err != nil || n < 7 {
				return err
			}
		}
	})
	return errors.Join(err, diff("deleted in all", len(due), int(deleted.Load())), e.holds(alive))
}

// checkRenewed renews records that are due, and sweeps them once they are really dead.
func checkRenewed(renew func(e *env, r storage.Record, to time.Time) error) func(*env) error {
	return func(e *env) error {
		kept, due := e.record("ana", expires(instant(1))), e.record("ana", expires(instant(1)))
		if err := errors.Join(e.put(kept, due), renew(e, kept, instant(50))); err != nil {
			return err
		}
		expires(instant(50))(&kept)
		if err := errors.Join(e.sweep(instant(20), 10, 1), e.sweep(instant(40), 10, 0), e.holds(kept)); err != nil {
			return err
		}
		err := e.andReopened(func() error { return errors.Join(e.sweep(instant(40), 10, 0), e.holds(kept)) })
		return errors.Join(err, e.sweep(instant(60), 10, 1), e.holds())
	}
}

// checkRenewedDuring sweeps and renews at once. Sweep can no longer delete a record that was seen
// renewed. A record that Sweep reached first is gone for good.
func checkRenewedDuring(e *env) error {
	const touchers, each = 8, 6
	rs := e.records(touchers*each, "ana", expires(instant(1)))
	if err := e.put(rs...); err != nil {
		return err
	}
	var deleted atomic.Int64
	var renewed [touchers][]storage.Record
	err := together(touchers+2, func(i int) error {
		if i >= touchers {
			n, err := e.store.Sweep(e.ctx, instant(2), len(rs))
			deleted.Add(int64(n))
			return err
		}
		for _, r := range rs[i*each : (i+1)*each] {
			use := storage.Use{ExpiresAt: instant(9)}
			if err := e.touch(r.ID, use); err != nil {
				return err
			}
			got, err := e.store.Get(e.ctx, r.ID)
			if errors.Is(err, storage.ErrNotFound) {
				continue
			}
			use.Raise(&r)
			if err := errors.Join(err, sameRecord("Get", r, got)); err != nil {
				return err
			}
			renewed[i] = append(renewed[i], r)
		}
		return nil
	})
	survivors := slices.Concat(renewed[:]...)
	return errors.Join(err, e.has(survivors...), e.holds(survivors...),
		diff("deleted", len(rs)-len(survivors), int(deleted.Load())))
}
