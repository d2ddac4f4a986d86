package storage

import (
	"context"
	"iter"
)

// BatchGetter is an optional ability of a Store: it reads many records with one call (clause S32).
// A Manager that holds connections uses it to read the tokens of all of them again. With a Store
// that is no BatchGetter, the Manager calls Get for each. A wrapper with a Gets of its own has a
// GetsFor of its own.
type BatchGetter interface {
	// Gets yields the record of each ID in ids, dead or alive and in any order, as a Get during the
	// iteration returns it. It yields nothing for an ID without a record. ids has no ID twice.
	//
	// A pair with an error that wraps ErrCorrupt stands for one record, whose ID it has, and
	// iteration goes on. Any other error, that of ctx for instance, is the last pair. If each error
	// wraps ErrCorrupt, every other record was yielded. The loop body may call the store, and may
	// stop at any time. A Manager cancels a call that yields no pair for a second, and calls Get
	// for each record then.
	Gets(ctx context.Context, ids []ID) iter.Seq2[Record, error]

	// GetsFor reports whether store is this BatchGetter itself. It returns false for a wrapper that
	// embeds the BatchGetter: such a wrapper may have a Get of its own, which Gets does not call.
	// The Manager then calls Get for each record.
	GetsFor(store Store) bool
}
