package storagetest

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// updatingByID is a toy with another UpdateID.
type updatingByID struct {
	*toy
	update func(t *toy, ctx context.Context, id storage.ID, fn func(storage.Tx) error) error
}

func (u *updatingByID) UpdateID(ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
	return u.update(u.toy, ctx, id, fn)
}

func (u *updatingByID) UpdateIDFor(store storage.Store) bool { return store == storage.Store(u) }

// forAll takes every store for itself.
type forAll struct{ *toy }

func (forAll) UpdateIDFor(storage.Store) bool { return true }
func (forAll) CachedFor(storage.Store) bool   { return true }

// fitting is a toy with another PutIfFits.
type fitting struct {
	*toy
	fits func(t *toyTx, r *storage.Record, n int, now time.Time) bool
}

type fittingTx struct {
	*toyTx
	fits func(t *toyTx, r *storage.Record, n int, now time.Time) bool
}

func (f fittingTx) PutIfFits(r *storage.Record, n int, now time.Time) bool {
	return f.fits(f.toyTx, r, n, now)
}

func (f fitting) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return f.toy.Update(ctx, subject, func(tx storage.Tx) error { return fn(fittingTx{tx.(*toyTx), f.fits}) })
}

// copying is a toy that keeps a copy of each record until an Update of it that forgets the copy.
type copying struct {
	*toy
	seen   map[storage.ID]storage.Record
	change func(r *storage.Record)
}

func (c *copying) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := c.toy.Get(ctx, id)
	if err == nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		kept := r
		c.change(&kept)
		c.seen[id] = kept
	}
	return r, err
}

func (c *copying) Cached(id storage.ID) (storage.Record, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r, ok := c.seen[id]
	return r, ok
}

func (c *copying) CachedFor(store storage.Store) bool { return store == storage.Store(c) }

// limited takes only so many writes in an Update.
type limited struct {
	*toy
	most int
	err  error
}

func (l limited) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return l.toy.Update(ctx, subject, func(tx storage.Tx) error {
		err := fn(tx)
		t := tx.(*toyTx)
		if err == nil && len(t.put)+len(t.created) > l.most {
			err = l.err
		}
		return err
	})
}

// halved writes the first records of a large Update, and then fails.
type halved struct{ *toy }

func (h halved) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	large := false
	err := h.toy.Update(ctx, subject, func(tx storage.Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		t := tx.(*toyTx)
		large = len(t.created) > 1000
		for id := range t.created {
			if large && len(t.created) > 1000 {
				delete(t.records, id)
				delete(t.created, id)
			}
		}
		return nil
	})
	if err == nil && large {
		err = storage.ErrTooManyWrites
	}
	return err
}

func abilityFlaws() []flaw {
	type update = func(t *toy, ctx context.Context, id storage.ID, fn func(storage.Tx) error) error
	byID := func(name string, u update) flaw {
		return flaw{name, []string{"S35"}, func(t *toy) storage.Store { return &updatingByID{t, u} }}
	}
	type fits = func(t *toyTx, r *storage.Record, n int, now time.Time) bool
	fit := func(name string, f fits) flaw {
		return flaw{name, []string{"S36"}, func(t *toy) storage.Store { return fitting{t, f} }}
	}
	return []flaw{
		byID("updates_what_is_absent", func(t *toy, ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
			r, err := t.Get(ctx, id)
			if errors.Is(err, storage.ErrNotFound) {
				r.Subject = "ana"
			} else if err != nil {
				return err
			}
			return t.Update(ctx, r.Subject, fn)
		}),
		byID("wraps_the_error_of_fn", func(t *toy, ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
			err := t.UpdateID(ctx, id, fn)
			if err != nil {
				err = fmt.Errorf("update of %v: %w", id, err)
			}
			return err
		}),
		byID("finds_the_record_alone", func(t *toy, ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
			return t.UpdateID(ctx, id, func(tx storage.Tx) error {
				return fn(aloneTx{tx, id})
			})
		}),
		byID("puts_the_record_again", func(t *toy, ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
			r, err := t.Get(ctx, id)
			if err != nil {
				return err
			}
			pauseFor(ctx, time.Millisecond)
			return t.Update(ctx, r.Subject, func(tx storage.Tx) error {
				if _, err := tx.Get(id); err != nil {
					_ = tx.Put(r)
				}
				return fn(tx)
			})
		}),
		byID("deaf_by_id", func(t *toy, _ context.Context, id storage.ID, fn func(storage.Tx) error) error {
			return t.UpdateID(context.Background(), id, fn)
		}),
		{"abilities_of_a_wrapper", []string{"S35", "S37"}, func(t *toy) storage.Store { return forAll{t} }},
		fit("fits_unchecked", func(t *toyTx, r *storage.Record, _ int, _ time.Time) bool { return t.Put(*r) == nil }),
		fit("fits_one_more", func(t *toyTx, r *storage.Record, n int, now time.Time) bool { return t.PutIfFits(r, n+1, now) }),
		fit("fits_over_a_record", func(t *toyTx, r *storage.Record, n int, now time.Time) bool {
			if _, err := t.Get(r.ID); err == nil {
				return t.Put(*r) == nil
			}
			return t.PutIfFits(r, n, now)
		}),
		fit("fits_without_its_own", func(t *toyTx, r *storage.Record, n int, now time.Time) bool {
			return t.PutIfFits(r, n+len(t.created), now)
		}),
		fit("puts_what_does_not_fit", func(t *toyTx, r *storage.Record, n int, now time.Time) bool {
			fits := t.PutIfFits(r, n, now)
			if _, err := t.Get(r.ID); err != nil {
				_ = t.Put(*r)
			}
			return fits
		}),
		{"copies_stay_after_an_update", []string{"S37"}, func(t *toy) storage.Store {
			return &copying{t, make(map[storage.ID]storage.Record), func(*storage.Record) {}}
		}},
		{"copies_without_the_kind", []string{"S37"}, func(t *toy) storage.Store {
			return &copying{t, make(map[storage.ID]storage.Record), func(r *storage.Record) { r.Kind = 0 }}
		}},
		{"takes_999_writes", []string{"S40"}, func(t *toy) storage.Store { return limited{t, 999, storage.ErrTooManyWrites} }},
		{"does_not_say_that_it_is_too_much", []string{"S40"}, func(t *toy) storage.Store { return limited{t, 2000, storage.ErrUnavailable} }},
		{"too_much_is_written_in_part", []string{"S40"}, func(t *toy) storage.Store { return halved{t} }},
	}
}

// aloneTx shows one record of the subject alone.
type aloneTx struct {
	storage.Tx
	id storage.ID
}

func (a aloneTx) Get(id storage.ID) (storage.Record, error) {
	if id != a.id {
		return storage.Record{}, storage.ErrNotFound
	}
	return a.Tx.Get(id)
}
