package storage

import (
	"context"
	"iter"
)

// Watcher is an optional ability of a Store: it tells which records were put or deleted (clauses
// S23 to S26). With a Store that is no Watcher, a Manager that holds connections reads their tokens
// again and again instead.
type Watcher interface {
	// Watch yields a Change for every record that an Update of any caller puts or deletes. It
	// yields the Change once the record can be read and, for Updates of this Store, before Update
	// returns. The first Change is a Gap, since changes from before the watch are not told. The
	// order is not promised. Renewals by Touch and deletions by Sweep need not be told.
	//
	// A pair with an error is the last one. The error is ErrClosed once the store is closed, the
	// context's error once that has ended, or the reason why the store hears nothing any more. The
	// loop body may call the store. A slow loop body makes no writer wait; it may get a Gap instead
	// of the changes that it missed.
	Watch(ctx context.Context) iter.Seq2[Change, error]
}

// Change is one message of a Watch.
type Change struct {
	ID      ID     // of a record that was put or deleted
	Subject string // the subject of that record
	Gap     bool   // any record may have changed; ID and Subject are zero
}
