package storage

import (
	"context"
	"iter"
)

// BatchGetter is an optional ability of a Store: it reads many records with one call (clause S32).
// A Manager that holds connections uses it to read the tokens of all of them again. With a Store
// that is no BatchGetter, the Manager calls Get for each.
type BatchGetter interface {
	// Gets yields the record of each ID in ids, dead or alive and in any order, as a Get during the
	// iteration returns it. It yields nothing for an ID without a record. ids has no ID twice.
	//
	// A pair with an error that wraps ErrCorrupt stands for one record, whose ID it has, and
	// iteration goes on. Any other error is the last pair. An iteration without such an error has
	// yielded every record that there is. The loop body may call the store, and may stop at any time.
	Gets(ctx context.Context, ids []ID) iter.Seq2[Record, error]
}
