package lapsetest

import (
	"context"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Wrong is a store with one fault in it.
type Wrong struct {
	storage.Store
	OnGet   func(storage.Record) storage.Record
	OnList  func(storage.Record) bool
	OnTouch func(storage.Use) storage.Use
	OnSweep func(time.Time) time.Time
	OnPut   func(storage.Record) storage.Record
	OnOver  func(old, put storage.Record) storage.Record

	// What a transaction reads, one and all of them.
	OnRead, OnRecords func(storage.Record) storage.Record

	OnDelete func(storage.Record) bool // whether a transaction deletes the record

	OnUpdate func(n int) bool // whether the n-th one happens
	n        int
}

// Get returns what OnGet makes of the record.
func (w *Wrong) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := w.Store.Get(ctx, id)
	if err == nil && w.OnGet != nil {
		r = w.OnGet(r)
	}
	return r, err
}

// List yields the records for which OnList returns true.
func (w *Wrong) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range w.Store.List(ctx, f) {
			if (w.OnList == nil || w.OnList(r)) && !yield(r, err) {
				return
			}
		}
	}
}

// Touch stores what OnTouch makes of use.
func (w *Wrong) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if w.OnTouch != nil {
		use = w.OnTouch(use)
	}
	return w.Store.Touch(ctx, id, use)
}

// Sweep sweeps before the instant that OnSweep returns.
func (w *Wrong) Sweep(ctx context.Context, before time.Time, limit int) (int, error) {
	if w.OnSweep != nil {
		before = w.OnSweep(before)
	}
	return w.Store.Sweep(ctx, before, limit)
}

// Update runs fn in a transaction, unless OnUpdate returns false.
func (w *Wrong) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if w.n++; w.OnUpdate != nil && !w.OnUpdate(w.n) {
		return nil
	}
	return w.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(wrongTx{tx, w}) })
}

// Marks returns the marks of the store below.
func (w *Wrong) Marks() *storage.Marks { return w.Store.(storage.Marker).Marks() }

type wrongTx struct {
	storage.Tx
	w *Wrong
}

func (tx wrongTx) Get(id storage.ID) (storage.Record, error) {
	r, err := tx.Tx.Get(id)
	if err == nil && tx.w.OnRead != nil {
		r = tx.w.OnRead(r)
	}
	return r, err
}

func (tx wrongTx) Records() iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range tx.Tx.Records() {
			if err == nil && tx.w.OnRecords != nil {
				r = tx.w.OnRecords(r)
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

func (tx wrongTx) Delete(id storage.ID) error {
	if r, err := tx.Tx.Get(id); err == nil && tx.w.OnDelete != nil && !tx.w.OnDelete(r) {
		return nil
	}
	return tx.Tx.Delete(id)
}

func (tx wrongTx) Put(r storage.Record) error {
	if old, err := tx.Tx.Get(r.ID); err == nil && tx.w.OnOver != nil {
		r = tx.w.OnOver(old, r)
	}
	if tx.w.OnPut != nil {
		r = tx.w.OnPut(r)
	}
	return tx.Tx.Put(r)
}
