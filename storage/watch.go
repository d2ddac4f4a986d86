package storage

import (
	"context"
	"iter"
)

// Watcher is what a Store may be besides: one that tells what was put and deleted (clauses
// S23 to S26). Without it a Manager that holds connections asks the store again and again
// instead.
type Watcher interface {
	// Watch yields a Change for every record that an Update puts or deletes, by
	// any caller, once it can be read and, for Updates of this Store, before Update
	// returns. The first Change is a Gap: what was put before the watch began to
	// listen is not told. The order is not promised. Renewals by Touch and deletions
	// by Sweep need not be told.
	//
	// A pair with an error is the last one: ErrClosed once the store is closed, the
	// context's once that has ended, or why nothing is heard any more. The loop body
	// may call the store; one that is slow makes no writer wait, but may be told of a
	// Gap instead of what it missed.
	Watch(ctx context.Context) iter.Seq2[Change, error]
}

// Change says what a Watch has heard.
type Change struct {
	ID      ID     // of a record that was put or deleted
	Subject string // whose it is
	Gap     bool   // anything may have been put: ID and Subject say nothing
}
