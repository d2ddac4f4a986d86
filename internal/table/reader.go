package table

import (
	"context"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// Reader reads single records from the table of a store, until the store is closed. It exists for
// speed: a record that is returned through the Store interface is copied on its way, and Reader.Get
// writes it where the caller wants it. Without it a check of a token takes 19 percent longer
// (BenchmarkAuthenticate). The zero value is closed.
type Reader struct{ table atomic.Pointer[Table] }

// Open makes r read from t.
func (r *Reader) Open(t *Table) { r.table.Store(t) }

// Close closes r and releases the table.
func (r *Reader) Close() { r.table.Store(nil) }

// Table returns the table, or nil if r is closed.
func (r *Reader) Table() *Table { return r.table.Load() }

// Get sets *rec to the record of id and returns true. It returns false and leaves *rec alone if
// there is no such record, r is closed, or ctx has ended. The Get of the store tells which.
func (r *Reader) Get(ctx context.Context, id storage.ID, rec *storage.Record) bool {
	t := r.table.Load()
	return t != nil && ctx.Err() == nil && t.Get(id, rec)
}

// ReaderOf returns the Reader of store, or a closed one if it has none.
func ReaderOf(store storage.Store) *Reader {
	if s, ok := store.(readable); ok {
		if r := s.Reader(store); r != nil {
			return r
		}
	}
	return new(Reader)
}

// readable is a store that has a Reader.
type readable interface {
	// Reader returns the Reader of the store if self is that store. It returns nil if self is a
	// wrapper around the store, which may have a Get of its own.
	Reader(self storage.Store) *Reader
}
