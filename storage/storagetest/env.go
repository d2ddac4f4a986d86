package storagetest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/seed-55daa01a/lapse/storage"
)

// env is what a case works with: a store of its own and ways to look into it.
type env struct {
	ctx         context.Context
	store       storage.Store
	reopenStore func(storage.Store) storage.Store // nil if nothing outlives Close
	serial      atomic.Int64                      // of the records made so far

	patience time.Duration // with a call that should not hang
}

func newEnv(tb testing.TB, b Backend) *env {
	e := &env{ctx: tb.Context(), store: b.Open(tb)}
	if b.Reopen != nil {
		e.reopenStore = func(s storage.Store) storage.Store { return b.Reopen(tb, s) }
	}
	return e
}

func (e *env) reopen() error {
	if e.reopenStore == nil {
		return errNoReopen
	}
	e.store = e.reopenStore(e.store)
	return nil
}

// andReopened runs check, and runs it again on the reopened store where there is
// such a thing.
func (e *env) andReopened(check func() error) error {
	if err := check(); err != nil || e.reopenStore == nil {
		return err
	}
	if err := e.reopen(); err != nil {
		return err
	}
	if err := check(); err != nil {
		return fmt.Errorf("after Reopen: %w", err)
	}
	return nil
}

func (e *env) update(subject string, fn func(tx storage.Tx) error) error {
	return e.store.Update(e.ctx, subject, fn)
}

// put stores rs, neighbours of one subject in one Update.
func (e *env) put(rs ...storage.Record) error {
	for len(rs) > 0 {
		subject := rs[0].Subject
		n := slices.IndexFunc(rs, func(r storage.Record) bool { return r.Subject != subject })
		if n < 0 {
			n = len(rs)
		}
		if err := e.update(subject, puts(rs[:n]...)); err != nil {
			return fmt.Errorf("putting %d records of %q: %w", n, subject, err)
		}
		rs = rs[n:]
	}
	return nil
}

// puts is an Update's function that puts rs.
func puts(rs ...storage.Record) func(storage.Tx) error {
	return func(tx storage.Tx) error {
		for _, r := range rs {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	}
}

// change replaces the record of id by what f makes of it.
func (e *env) change(subject string, id storage.ID, f func(*storage.Record)) error {
	return e.update(subject, func(tx storage.Tx) error {
		r, err := tx.Get(id)
		if err != nil {
			return err
		}
		f(&r)
		return tx.Put(r)
	})
}

func (e *env) touch(id storage.ID, use storage.Use) error {
	if err := e.store.Touch(e.ctx, id, use); err != nil {
		return fmt.Errorf("Touch: %w", err)
	}
	return nil
}

// list returns what List yields, in its order, up to an error.
func (e *env) list(f storage.Filter) ([]storage.Record, error) {
	var rs []storage.Record
	for r, err := range e.store.List(e.ctx, f) {
		if err != nil {
			return rs, fmt.Errorf("List: %w", err)
		}
		rs = append(rs, r)
	}
	return rs, nil
}

// sweep sweeps and says so if it deleted another number than want.
func (e *env) sweep(deadBefore time.Time, limit, want int) error {
	n, err := e.store.Sweep(e.ctx, deadBefore, limit)
	if err != nil || n != want {
		return fmt.Errorf("Sweep(%s, %d) = %d, %v; want %d, nil", deadBefore.Format(time.RFC3339Nano), limit, n, err, want)
	}
	return nil
}

// has checks that Get returns each of want.
func (e *env) has(want ...storage.Record) error {
	var errs []error
	for _, w := range want {
		got, err := e.store.Get(e.ctx, w.ID)
		if err != nil {
			errs = append(errs, fmt.Errorf("Get(%s): %w", w.ID, err))
			continue
		}
		errs = append(errs, sameRecord("Get", w, got))
	}
	return errors.Join(errs...)
}

// lacks checks that Get finds none of rs.
func (e *env) lacks(rs ...storage.Record) error {
	var errs []error
	for _, r := range rs {
		_, err := e.store.Get(e.ctx, r.ID)
		errs = append(errs, wants(fmt.Sprintf("Get(%s) of an absent record", r.ID), err, storage.ErrNotFound))
	}
	return errors.Join(errs...)
}

// holds checks that the store holds exactly want, in whatever order it lists them.
func (e *env) holds(want ...storage.Record) error {
	got, err := e.list(storage.Filter{})
	if err != nil {
		return err
	}
	slices.SortStableFunc(got, byID)
	return sameRecords("all that List yields", sorted(want...), got)
}

func byID(a, b storage.Record) int { return a.ID.Compare(b.ID) }

func sorted(rs ...storage.Record) []storage.Record { return slices.SortedFunc(slices.Values(rs), byID) }

// sameRecords takes no slice and an empty one for the same. What is identical needs
// no reflection to be found equal, and most of what the suite compares is; of what is not
// it shows which records are there, or the first one that differs.
func sameRecords(what string, want, got []storage.Record) error {
	if ids, there := idsOf(want), idsOf(got); !slices.Equal(ids, there) {
		return diff(what+": IDs", ids, there)
	}
	for i := range want {
		if err := sameRecord(fmt.Sprintf("%s: record %d of %d", what, i+1, len(want)), want[i], got[i]); err != nil {
			return err
		}
	}
	return nil
}

func idsOf(rs []storage.Record) (ids []storage.ID) {
	for i := range rs {
		ids = append(ids, rs[i].ID)
	}
	return ids
}

func sameRecord(what string, want, got storage.Record) error {
	if want.Equal(got) {
		return nil
	}
	return diff(what, want, got)
}

// fields are those of a record, which are compared one by one, so that a difference says
// in which of them it is.
type fields storage.Record

func diff(what string, want, got any) error {
	byFields := cmp.Transformer("fields", func(r storage.Record) fields { return fields(r) })
	if d := cmp.Diff(want, got, byFields); d != "" {
		return fmt.Errorf("%s (-want +got):\n%s", what, d)
	}
	return nil
}

// wants says so if err is not the error that was to come.
func wants(what string, err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("%s: got error %v, want %v", what, err, want)
}
