package storage

import (
	"context"
	"errors"
)

// Pager is an optional ability of a Store: it reads all records page by page, and the cost of a page
// does not grow with the number of pages before it (clause S34). With a Store that is no Pager, a
// Manager calls List for each page. A wrapper with a Page of its own has a PageFor of its own.
type Pager interface {
	// Page returns at most n records, dead or alive and in an order of the engine's own, and the
	// after of the next page. after is "" for the first page, and next is "" after the last record.
	// A record that is there from the first page to the last is in exactly one page, whatever
	// changes meanwhile. A page may have fewer than n records and a next. For an n under 1 a page
	// has no record, and next is after.
	//
	// A page that meets a damaged record ends with that record, of which only the ID may be known,
	// and an error that wraps ErrCorrupt. next goes on after that record. With any other error
	// there are no records and no next. The error is ErrInvalidAfter for an after that this store
	// has not returned as next, or that it cannot go on from since it was opened again.
	Page(ctx context.Context, after string, n int) (recs []Record, next string, err error)

	// PageFor reports whether store is this Pager itself. It returns false for a wrapper that
	// embeds the Pager: such a wrapper may have a List of its own, which Page does not call.
	PageFor(store Store) bool
}

// ErrInvalidAfter: Page was given an after that is no next of this store, or is from before the store
// was opened. Begin with the first page again.
var ErrInvalidAfter = errors.New("storage: after is no next of this store since it was opened; begin with the first page")
