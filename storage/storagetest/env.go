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

// env is the environment of a case: a store of its own, and ways to read and write it.
type env struct {
	ctx         context.Context
	store       storage.Store
	openAnother func() storage.Store
	reopenStore func(storage.Store) storage.Store // nil if nothing outlives Close
	shareStore  func(storage.Store) storage.Store // nil if the store has one handle
	others      []*env                            // the environments that share returned
	serial      atomic.Int64                      // how many records were made so far

	patience time.Duration // how long to wait for a call that should not hang
}

func newEnv(tb testing.TB, b Backend) *env {
	e := &env{ctx: tb.Context(), store: b.Open(tb), openAnother: func() storage.Store { return b.Open(tb) }}
	if b.Reopen != nil {
		e.reopenStore = func(s storage.Store) storage.Store { return b.Reopen(tb, s) }
	}
	if b.Share != nil {
		e.shareStore = func(s storage.Store) storage.Store { return b.Share(tb, s) }
	}
	return e
}

// share returns an environment with a second handle on the data of e. It makes no records of its own.
func (e *env) share() (*env, error) {
	if e.shareStore == nil {
		return nil, errNoShare
	}
	other := &env{ctx: e.ctx, store: e.shareStore(e.store), patience: e.patience}
	e.others = append(e.others, other)
	return other, nil
}

// close closes every handle. The cases of S20 check what Close returns.
func (e *env) close() {
	for _, other := range e.others {
		other.store.Close()
	}
	e.store.Close()
}

// eventually calls check until that returns nil, for as long as a case may wait. It returns the last
// error of check.
func (e *env) eventually(check func() error) error {
	ctx, cancel := context.WithTimeout(e.ctx, e.patience)
	defer cancel()
	for {
		err := check()
		if err == nil || ctx.Err() != nil {
			return err
		}
		pauseFor(ctx, moment/10)
	}
}

// pauseFor returns after d, or when ctx ends.
func pauseFor(ctx context.Context, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	<-ctx.Done()
}

func (e *env) reopen() error {
	if e.reopenStore == nil {
		return errNoReopen
	}
	e.store = e.reopenStore(e.store)
	return nil
}

// andReopened runs check, and runs it again on the reopened store if the backend can reopen.
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

// put stores rs. Neighbours of the same subject go into one Update.
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

// puts returns a function for Update that puts rs.
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

// change replaces the record of id by the one that f makes of it.
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

// list returns the records that List yields, in its order, up to an error.
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

// sweep calls Sweep and returns an error if that did not delete want records.
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

// sameRecords compares two slices; nil and an empty slice are the same. On a difference it shows
// the IDs if they differ, or else the first record that differs. Most slices are equal, and for
// those it needs no reflection.
func sameRecords(what string, want, got []storage.Record) error {
	if ids, there := idsOf(want), idsOf(got); !slices.Equal(ids, there) {
		return diff(what+": IDs", ids, there)
	}
	for i := range want {
		if !want[i].Equal(got[i]) {
			return diff(fmt.Sprintf("%s: record %d of %d", what, i+1, len(want)), want[i], got[i])
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

// fields is a record without its methods, so that cmp compares its fields one by one and names the
// one that differs.
type fields storage.Record

func diff(what string, want, got any) error {
	byFields := cmp.Transformer("fields", func(r storage.Record) fields { return fields(r) })
	if d := cmp.Diff(want, got, byFields); d != "" {
		return fmt.Errorf("%s (-want +got):\n%s", what, d)
	}
	return nil
}

// wants returns an error unless err is want.
func wants(what string, err, want error) error {
	if errors.Is(err, want) {
		return nil
	}
	return fmt.Errorf("%s: got error %v, want %v", what, err, want)
}
