package lapse_test

import (
	"context"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
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
