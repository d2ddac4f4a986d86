package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// getsCases returns the cases for a store that is a storage.BatchGetter.
func getsCases() []testCase {
	return []testCase{
		{"S32_each_record_once", "Gets yields the record of each ID once, as Get returns it, and nothing for an ID without a record.",
			checkGetsEach},
		{"S32_follows_changes", "Gets yields each record as Get returns it: after a Put, a Touch and a Delete.",
			checkGetsFollows},
		{"S32_an_error_is_the_last_pair", "An error that does not wrap ErrCorrupt is the last pair.",
			checkGetsError},
		{"S32_body_may_call_the_store", "The loop body may call the store, Update included.",
			checkGetsBody},
		{"S32_loop_may_stop", "The loop may stop at any time; that leaves nothing locked.",
			checkGetsStops},
		{"S32_not_for_a_wrapper", "GetsFor is true of the store itself, and false of a wrapper around it.",
			checkGetsFor},
		{"S32_closed", "Once the store is closed the last pair is ErrClosed.",
			checkGetsClosed},
	}
}

var errNoGets = errors.New("the store reads one record at a time: it is no storage.BatchGetter")

func (e *env) getter() (storage.BatchGetter, error) {
	g, ok := e.store.(storage.BatchGetter)
	if !ok || !g.GetsFor(e.store) {
		return nil, errNoGets
	}
	return g, nil
}

// gets returns the records that Gets yields, in ID order, up to an error.
func (e *env) gets(ctx context.Context, ids ...storage.ID) ([]storage.Record, error) {
	g, err := e.getter()
	if err != nil {
		return nil, err
	}
	var rs []storage.Record
	for r, err := range g.Gets(ctx, ids) {
		if err != nil {
			return sorted(rs...), fmt.Errorf("the records of Gets: %w", err)
		}
		rs = append(rs, r)
	}
	return sorted(rs...), nil
}

// gotten checks that Gets with ids yields exactly want.
func (e *env) gotten(ids []storage.ID, want ...storage.Record) error {
	got, err := e.gets(e.ctx, ids...)
	if err != nil {
		return err
	}
	return sameRecords(fmt.Sprintf("Gets of %d IDs", len(ids)), sorted(want...), got)
}

// manyGets is more records than a store is likely to read at a time.
const manyGets = 1200

func checkGetsEach(e *env) error {
	if _, err := e.getter(); err != nil {
		return err
	}
	anas, bobs := e.records(manyGets, "ana"), e.records(3, "bob")
	dead := e.record("bob", ended(instant(5), storage.EndRevoked))
	if err := e.put(slices.Concat(anas, bobs, []storage.Record{dead})...); err != nil {
		return err
	}
	absent, other := e.record("ana"), e.record("bob")
	all := slices.Concat(bobs, anas, []storage.Record{dead})
	mixed := slices.Concat([]storage.Record{absent}, bobs[:2], []storage.Record{other, dead}, anas[5:10])
	return e.andReopened(func() error {
		return errors.Join(
			e.gotten(nil),
			e.gotten([]storage.ID{absent.ID, other.ID}),
			e.gotten(idsOf(mixed), slices.Concat(bobs[:2], []storage.Record{dead}, anas[5:10])...),
			e.gotten(idsOf(all), all...))
	})
}

func checkGetsFollows(e *env) error {
	if _, err := e.getter(); err != nil {
		return err
	}
	rs := e.records(4, "ana")
	ids := idsOf(rs)
	if err := errors.Join(e.put(rs...), e.gotten(ids, rs...)); err != nil {
		return err
	}
	use := storage.Use{At: rs[1].ExpiresAt, ExpiresAt: rs[1].ExpiresAt}
	named("changed")(&rs[0])
	use.Raise(&rs[1])
	err := e.update("ana", func(tx storage.Tx) error {
		return errors.Join(tx.Put(rs[0]), tx.Delete(rs[2].ID))
	})
	return errors.Join(err, e.touch(rs[1].ID, use), e.gotten(ids, rs[0], rs[1], rs[3]))
}

// checkGetsError ends the context inside the loop. A store may have read everything by then; if not,
// it yields the error once.
func checkGetsError(e *env) error {
	g, err := e.getter()
	if err != nil {
		return err
	}
	rs := e.records(20, "ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	defer cancel()
	var failed error
	pairs := 0
	for _, err := range g.Gets(ctx, idsOf(rs)) {
		if failed != nil {
			return fmt.Errorf("after the error %w there came another pair", failed)
		}
		failed = err
		pairs++
		cancel()
	}
	if failed == nil {
		return diff("pairs without an error", len(rs), pairs)
	}
	_, after := e.gets(ctx, rs[0].ID)
	return errors.Join(wants("Gets", failed, ctx.Err()), wants("Gets with a context that has ended", after, ctx.Err()))
}

func checkGetsBody(e *env) error {
	g, err := e.getter()
	if err != nil {
		return err
	}
	rs := append(e.records(5, "ana"), e.records(5, "bob")...)
	if err := e.put(rs...); err != nil {
		return err
	}
	n := 0
	for r, err := range g.Gets(e.ctx, idsOf(rs)) {
		if err != nil {
			return err
		}
		if n++; n > len(rs) {
			break
		}
		if err := e.bodyOf(r); err != nil {
			return fmt.Errorf("in the loop body: %w", err)
		}
	}
	return diff("number of records", len(rs), n)
}

func checkGetsStops(e *env) error {
	g, err := e.getter()
	if err != nil {
		return err
	}
	rs := e.records(10, "ana")
	if err := e.put(rs...); err != nil {
		return err
	}
	for _, stop := range []int{1, 5} {
		n := 0
		for _, err := range g.Gets(e.ctx, idsOf(rs)) {
			if err != nil {
				return err
			}
			if n++; n == stop {
				break
			}
		}
	}
	more := e.record("ana")
	return errors.Join(e.put(more), e.gotten([]storage.ID{more.ID}, more))
}

func checkGetsFor(e *env) error {
	g, err := e.getter()
	if err != nil {
		return err
	}
	for _, wrapper := range []storage.Store{struct{ storage.Store }{e.store}, &struct{ storage.Store }{e.store}, nil} {
		if g.GetsFor(wrapper) {
			return fmt.Errorf("GetsFor of %T is true", wrapper)
		}
	}
	return nil
}

func checkGetsClosed(e *env) error {
	if _, err := e.getter(); err != nil {
		return err
	}
	r := e.record("ana")
	if err := errors.Join(e.put(r), e.store.Close()); err != nil {
		return err
	}
	_, err := e.gets(e.ctx, r.ID)
	return wants("Gets of a closed store", err, storage.ErrClosed)
}
