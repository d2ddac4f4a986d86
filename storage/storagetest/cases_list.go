package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func listCases() []testCase {
	return []testCase{
		{"S14_dead_ones_too_in_order", "List yields every record that the filter selects once, dead ones too, those of a subject in ID order.",
			checkListOrder},
		{"S14_filter_is_exact", "List yields the records that meet every condition of the filter: ExpiresBefore is strict.",
			checkFilter},
		{"S14_filter_follows_changes", "List yields every record that the filter selects once, whatever happened to it since it was put.",
			checkFilterFollows},
		{"S14_nothing_selected", "List of nothing yields nothing.",
			checkListNothing},
		{"S14_an_error_is_the_last_pair", "An error that does not wrap ErrCorrupt is the last pair.",
			checkListError},
		{"S15_body_may_call_the_store", "The loop body may call the store, Update included.",
			checkListBody},
		{"S15_loop_may_stop", "The loop may stop at any time; that leaves nothing locked or open.",
			checkListStops},
	}
}

// listed checks that List with f yields exactly want, those of each subject in ID order.
func (e *env) listed(f storage.Filter, want ...storage.Record) error {
	got, err := e.list(f)
	if err != nil {
		return err
	}
	bySubject := func(a, b storage.Record) int { return strings.Compare(a.Subject, b.Subject) }
	want = sorted(want...)
	slices.SortStableFunc(want, bySubject)
	slices.SortStableFunc(got, bySubject)
	return sameRecords(fmt.Sprintf("List of subject %q, before %v", f.Subject, f.ExpiresBefore), want, got)
}

func checkListOrder(e *env) error {
	var all, anas []storage.Record
	for range 5 {
		a, b := e.mixed(9, "ana"), e.mixed(7, "bob")
		if err := e.put(slices.Concat(b, a)...); err != nil {
			return err
		}
		anas, all = append(anas, a...), slices.Concat(all, a, b)
	}
	return e.andReopened(func() error {
		return errors.Join(
			e.listed(storage.Filter{}, all...),
			e.listed(storage.Filter{Subject: "ana"}, anas...),
			e.listed(storage.Filter{ExpiresBefore: instant(1).AddDate(1000, 0, 0)}, all...))
	})
}

func checkFilter(e *env) error {
	at := instant(100)
	before, exact, after := at.Add(-time.Millisecond), at, at.Add(time.Millisecond)
	var ana, bob [5]storage.Record
	for i, expiry := range []time.Time{before, exact, after, {}, after} {
		ana[i], bob[i] = e.record("ana", expires(expiry)), e.record("bob", expires(expiry))
	}
	// A record that ended before the instant and expires after it is not selected.
	ended(before, storage.EndRevoked)(&ana[4])
	ended(before, storage.EndRevoked)(&bob[4])
	if err := e.put(slices.Concat(ana[:], bob[:])...); err != nil {
		return err
	}
	both := func(is ...int) (rs []storage.Record) {
		for _, i := range is {
			rs = append(rs, ana[i], bob[i])
		}
		return rs
	}
	return e.andReopened(func() error {
		return errors.Join(
			e.listed(storage.Filter{}, both(0, 1, 2, 3, 4)...),
			e.listed(storage.Filter{Subject: "bob"}, bob[:]...),
			e.listed(storage.Filter{ExpiresBefore: before}, both(3)...),
			e.listed(storage.Filter{ExpiresBefore: exact}, both(0, 3)...),
			e.listed(storage.Filter{ExpiresBefore: after}, both(0, 1, 3)...),
			e.listed(storage.Filter{ExpiresBefore: after.Add(time.Millisecond)}, both(0, 1, 2, 3, 4)...),
			e.listed(storage.Filter{Subject: "ana", ExpiresBefore: exact}, ana[0], ana[3]),
			e.listed(storage.Filter{Subject: "bob", ExpiresBefore: after}, bob[0], bob[1], bob[3]),
			e.listed(storage.Filter{Subject: "carl"}))
	})
}

// checkFilterFollows moves expiries back and forth. An index by expiry might then list a record
// twice, or not at all.
func checkFilterFollows(e *env) error {
	rs := e.records(6, "ana", expires(instant(50)))
	if err := e.put(rs...); err != nil {
		return err
	}
	for _, step := range []struct {
		i      int
		change func(*storage.Record)
	}{
		{0, lowered(instant(20))}, {0, expires(instant(90))}, {0, lowered(instant(20))},
		{1, ended(instant(10), storage.EndSubject)}, {1, lowered(instant(5))}, {1, expires(instant(70))},
		{2, lowered(instant(10))}, {2, expires(instant(50))},
		{3, lowered(instant(-1))}, {3, expires(instant(60))},
	} {
		step.change(&rs[step.i])
		if err := e.put(rs[step.i]); err != nil {
			return err
		}
	}
	use := storage.Use{ExpiresAt: instant(80)}
	if err := errors.Join(e.touch(rs[4].ID, use), e.sweep(instant(0), 10, 0), e.sweep(instant(5), 10, 0)); err != nil {
		return err
	}
	use.Raise(&rs[4])
	return e.andReopened(func() error {
		var errs []error
		for _, ms := range []int64{5, 6, 10, 11, 20, 21, 50, 51, 60, 61, 70, 71, 80, 81, 91} {
			for _, subject := range []string{"", "ana"} {
				f := storage.Filter{Subject: subject, ExpiresBefore: instant(ms)}
				want := slices.DeleteFunc(slices.Clone(rs), func(r storage.Record) bool { return !f.Match(r) })
				errs = append(errs, e.listed(f, want...))
			}
		}
		return errors.Join(errs...)
	})
}

func checkListNothing(e *env) error {
	filters := []storage.Filter{{}, {Subject: "ana"}, {ExpiresBefore: instant(1)}, {Subject: "ana", ExpiresBefore: instant(1)}}
	var errs []error
	for _, f := range filters {
		errs = append(errs, e.listed(f))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("in an empty store: %w", err)
	}
	if err := e.put(e.record("bob")); err != nil {
		return err
	}
	for _, f := range filters[1:] {
		errs = append(errs, e.listed(f))
	}
	return errors.Join(errs...)
}

// checkListError ends the context inside the loop. A store may have read everything by then; if
// not, it yields the error once.
func checkListError(e *env) error {
	if err := e.put(e.records(20, "ana")...); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	var failed error
	pairs := 0
	for _, err := range e.store.List(ctx, storage.Filter{}) {
		if failed != nil {
			return fmt.Errorf("after the error %w there came another pair", failed)
		}
		failed = err
		pairs++
		cancel()
	}
	if failed == nil {
		return diff("pairs without an error", 20, pairs)
	}
	return wants("List", failed, ctx.Err())
}

func checkListBody(e *env) error {
	rs := append(e.records(5, "ana"), e.records(5, "bob")...)
	due := e.record("carl", expires(instant(1)))
	if err := e.put(append(rs, due)...); err != nil {
		return err
	}
	var came []storage.Record
	for r, err := range e.store.List(e.ctx, storage.Filter{}) {
		if err != nil {
			return err
		}
		if r.ID == due.ID {
			continue // the loop body sweeps it, so that List may yield it or not
		}
		came = append(came, r)
		if err := e.bodyOf(r); err != nil {
			return fmt.Errorf("in the loop body: %w", err)
		}
	}
	for i := range rs {
		named("seen")(&rs[i])
	}
	return errors.Join(e.holds(rs...), diff("number of records", len(rs), len(came)), e.listWhileSwept())
}

// listWhileSwept sweeps the subject that it lists. The records that stay must all be listed,
// although others disappear. There are more records than a store is likely to read at a time.
func (e *env) listWhileSwept() error {
	due, kept := e.records(10, "dora", expires(instant(1))), e.records(300, "dora")
	if err := e.put(append(due, kept...)...); err != nil {
		return err
	}
	var came []storage.Record
	for r, err := range e.store.List(e.ctx, storage.Filter{Subject: "dora"}) {
		if err != nil {
			return err
		}
		if r.ID == due[0].ID {
			if err := e.sweep(instant(2), 100, len(due)); err != nil {
				return fmt.Errorf("in the loop body: %w", err)
			}
		}
		if r.ExpiresAt.After(instant(1)) {
			came = append(came, r)
		}
	}
	return sameRecords("those that stay", kept, came)
}

// bodyOf calls every method except Close, as a loop body may.
func (e *env) bodyOf(r storage.Record) error {
	_, sweeping := e.store.Sweep(e.ctx, instant(2), 10)
	_, listing := e.list(storage.Filter{Subject: r.Subject})
	return errors.Join(sweeping, listing,
		e.has(r),
		e.touch(r.ID, storage.Use{At: r.LastUsedAt}),
		e.change(r.Subject, r.ID, named("seen")))
}

func checkListStops(e *env) error {
	rs := e.records(10, "ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	for _, f := range []storage.Filter{{}, {Subject: "ana"}, {ExpiresBefore: rs[9].ExpiresAt.Add(time.Millisecond)}} {
		for _, stop := range []int{1, 5} {
			n := 0
			for _, err := range e.store.List(e.ctx, f) {
				if err != nil {
					return err
				}
				if n++; n == stop {
					break
				}
			}
		}
	}
	rs = append(rs, e.record("ana"))
	if err := errors.Join(e.put(rs[10]), e.holds(rs...)); err != nil {
		return err
	}
	for range e.store.List(e.ctx, storage.Filter{}) {
		break
	}
	return e.store.Close()
}
