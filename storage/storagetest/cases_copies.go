package storagetest

import (
	"errors"

	"github.com/seed-55daa01a/lapse/storage"
)

// copyCases returns the cases for a store that is a storage.Cacher.
func copyCases() []testCase {
	return []testCase{
		{"S37_as_get_returns_it", "Cached returns the copy of a record with every field as Get returned it.",
			checkCopy},
		{"S37_own_updates", "Cached never returns a copy from before an Update of this process that has returned.",
			checkCopyAfterUpdate},
		{"S37_not_for_a_wrapper", "CachedFor is true of the store itself, and false of a wrapper around it.",
			checkCopyFor},
	}
}

var errNoCopies = errors.New("the store has no copies at hand: it is no storage.Cacher")

func (e *env) cacher() (storage.Cacher, error) {
	c, ok := e.store.(storage.Cacher)
	if !ok || !c.CachedFor(e.store) {
		return nil, errNoCopies
	}
	return c, nil
}

func checkCopy(e *env) error {
	c, err := e.cacher()
	if err != nil {
		return err
	}
	rs := []storage.Record{e.record("ana"), e.record("ana", withExtras), e.record("bob", ended(instant(1), storage.EndRevoked))}
	if err := e.put(rs...); err != nil {
		return err
	}
	var errs []error
	for _, r := range rs {
		want, err := e.store.Get(e.ctx, r.ID)
		if got, ok := c.Cached(r.ID); ok {
			err = errors.Join(err, sameRecord("Cached", want, got))
		}
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func checkCopyAfterUpdate(e *env) error {
	c, err := e.cacher()
	if err != nil {
		return err
	}
	r := e.record("ana")
	if err := e.put(r); err != nil {
		return err
	}
	for n := range 50 {
		if err := errors.Join(e.has(r), e.change("ana", r.ID, counted(n))); err != nil {
			return err
		}
		counted(n)(&r)
		if got, ok := c.Cached(r.ID); ok {
			if err := sameRecord("Cached after an Update", r, got); err != nil {
				return err
			}
		}
	}
	if err := errors.Join(e.has(r), e.update("ana", deletes(r))); err != nil {
		return err
	}
	_, ok := c.Cached(r.ID)
	return diff("whether Cached has a record that was deleted", false, ok)
}

func checkCopyFor(e *env) error {
	c, err := e.cacher()
	if err != nil {
		return err
	}
	return diff("CachedFor of a wrapper", false, c.CachedFor(struct{ storage.Store }{e.store}))
}
