package table

import (
	"context"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// Reader reads single records of a store whose Get is that of a table, until the store is
// closed. A record is large. What comes through an interface is copied on its way; a
// Reader, which is called as what it is, sets it where its caller wants it. The zero
// value is closed.
type Reader struct{ table atomic.Pointer[Table] }

// Open has r read what t has.
func (r *Reader) Open(t *Table) { r.table.Store(t) }

// Close ends that, and lets go of the table.
func (r *Reader) Close() { r.table.Store(nil) }

// Table returns the table, or nil if r is closed.
func (r *Reader) Table() *Table { return r.table.Load() }

// Get sets *rec to the record of id and reports true, or leaves *rec alone: there may be
// none, r may be closed, or ctx may have ended. The store's own Get tells which.
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
	// Reader returns it if self is the store, and nil if self is something around the
	// store, which may have a Get of its own.
	Reader(self storage.Store) *Reader
}
