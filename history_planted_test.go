package lapse_test

import (
	"context"
	"iter"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// wrong is a store with one fault in it.
type wrong struct {
	storage.Store
	get   func(storage.Record) storage.Record
	list  func(storage.Record) bool
	touch func(storage.Use) storage.Use
	sweep func(time.Time) time.Time
	put   func(storage.Record) storage.Record
	over  func(old, put storage.Record) storage.Record

	// What a transaction reads, one and all of them.
	read, records func(storage.Record) storage.Record

	update func(n int) bool // whether the n-th one happens
	n      int
}

func (w *wrong) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := w.Store.Get(ctx, id)
	if err == nil && w.get != nil {
		r = w.get(r)
	}
	return r, err
}

func (w *wrong) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range w.Store.List(ctx, f) {
			if (w.list == nil || w.list(r)) && !yield(r, err) {
				return
			}
		}
	}
}

func (w *wrong) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if w.touch != nil {
		use = w.touch(use)
	}
	return w.Store.Touch(ctx, id, use)
}

func (w *wrong) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	if w.sweep != nil {
		before = w.sweep(before)
	}
	return w.Store.Sweep(ctx, before, limit)
}

func (w *wrong) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if w.n++; w.update != nil && !w.update(w.n) {
		return nil
	}
	return w.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(wrongTx{tx, w}) })
}

func (w *wrong) Marks() *storage.Marks { return w.Store.(storage.Marker).Marks() }

type wrongTx struct {
	storage.Tx
	w *wrong
}

func (tx wrongTx) Get(id storage.ID) (storage.Record, error) {
	r, err := tx.Tx.Get(id)
	if err == nil && tx.w.read != nil {
		r = tx.w.read(r)
	}
	return r, err
}

func (tx wrongTx) Records() iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range tx.Tx.Records() {
			if err == nil && tx.w.records != nil {
				r = tx.w.records(r)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func (tx wrongTx) Put(r storage.Record) error {
	if old, err := tx.Tx.Get(r.ID); err == nil && tx.w.over != nil {
		r = tx.w.over(old, r)
	}
	if tx.w.put != nil {
		r = tx.w.put(r)
	}
	return tx.Tx.Put(r)
}

// TestHistoriesFindPlantedFaults: each of these must be found by as few scripts as
// the test above plays, or that test proves nothing.
func TestHistoriesFindPlantedFaults(t *testing.T) {
	for name, fault := range map[string]wrong{
		"expires a millisecond late": {get: func(r storage.Record) storage.Record {
			r.ExpiresAt = r.ExpiresAt.Add(time.Millisecond)
			return r
		}},
		"forgets ends": {get: func(r storage.Record) storage.Record {
			r.EndedAt, r.EndReason = time.Time{}, 0
			return r
		}},
		"forgets the cap": {put: func(r storage.Record) storage.Record {
			r.MaxExpiresAt = time.Time{}
			return r
		}},
		"hides the dead":        {list: func(r storage.Record) bool { return r.EndedAt.IsZero() }},
		"loses renewals by use": {touch: func(storage.Use) storage.Use { return storage.Use{} }},
		"renews too far":        {touch: func(u storage.Use) storage.Use { return storage.Use{At: u.At, ExpiresAt: u.At.Add(4 * time.Hour)} }},
		"sweeps at the instant": {sweep: func(before time.Time) time.Time { return before.Add(time.Millisecond) }},
		"sweeps too little":     {sweep: func(before time.Time) time.Time { return before.Add(-time.Millisecond) }},
		"ends with another reason": {put: func(r storage.Record) storage.Record {
			if r.EndReason == lapse.EndEvicted {
				r.EndReason = lapse.EndExpired
			}
			return r
		}},
		"an end forgets far descendants": {put: func(r storage.Record) storage.Record {
			if r.EndReason == lapse.EndParent && r.Parent != r.Family {
				r.EndedAt, r.EndReason = time.Time{}, 0
			}
			return r
		}},
		"a delegate outlives its parent": {get: func(r storage.Record) storage.Record {
			if r.ID == r.Family {
				r.ExpiresAt = r.ExpiresAt.Add(time.Hour)
			}
			return r
		}},
		"a delegate passes the cap of its parent": {put: func(r storage.Record) storage.Record {
			if r.Parent != (lapse.ID{}) {
				r.MaxExpiresAt = r.MaxExpiresAt.Add(time.Millisecond)
			}
			return r
		}},
		"forgets whose delegate it is": {put: func(r storage.Record) storage.Record {
			r.Parent = lapse.ID{}
			return r
		}},
		"forgets families": {put: func(r storage.Record) storage.Record {
			r.Family = lapse.ID{}
			return r
		}},
		"spends a use twice": {put: func(r storage.Record) storage.Record {
			if r.UsesLeft == 1 && r.MaxUses > 1 {
				r.UsesLeft = 0
			}
			return r
		}},
		"gives a use for nothing": {put: func(r storage.Record) storage.Record {
			if r.UsesLeft == 2 && r.MaxUses == 3 {
				r.UsesLeft = 3
			}
			return r
		}},
		"forgets the last use": {put: func(r storage.Record) storage.Record {
			if r.EndReason == lapse.EndExhausted {
				r.EndedAt, r.EndReason, r.UsesLeft = time.Time{}, 0, 1
			}
			return r
		}},
		"lets the exhausted live": {put: func(r storage.Record) storage.Record {
			if r.EndReason == lapse.EndExhausted {
				r.EndedAt, r.EndReason = time.Time{}, 0
			}
			return r
		}},
		"acknowledges what it did not do": {update: func(n int) bool { return n%29 != 0 }},
	} {
		t.Run(name, func(t *testing.T) { find(t, fault) })
	}
}

// find plays scripts over the fault until one of them finds it.
func find(t *testing.T, fault wrong) {
	for seed := range uint64(histories) {
		store := fault
		store.Store = memory.New()
		if play(script(seed, 600), &store, nil) != nil {
			return
		}
	}
	t.Error("not found")
}
