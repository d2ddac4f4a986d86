package storage

import (
	"context"
	"iter"
	"time"
)

// Store keeps records. The clauses S1 to S22, S27 to S31 and S33 of the package comment are part of
// this interface, and [github.com/seed-55daa01a/lapse/storage/storagetest.Run] checks them.
//
// Each error wraps an error of this package or that of the context. A store that fails for any
// other reason wraps ErrUnavailable.
type Store interface {
	// Get returns the record of id, dead or alive. The error is ErrNotFound if there is no such
	// record, and ErrCorrupt if the record is damaged.
	Get(ctx context.Context, id ID) (Record, error)

	// Touch raises LastUsedAt and ExpiresAt of the record of id to those of use, and never lowers
	// them. It has no effect, and returns nil, if the record is ended or absent. The store may
	// write it later (S13). It suspends and resumes nothing (S33).
	Touch(ctx context.Context, id ID, use Use) error

	// Update runs fn on the records of one subject. It is serializable, all or nothing, and durable
	// once it returns nil. fn may run more than once. An error from fn aborts the Update, and
	// Update returns it as it is. The error is ErrOutcomeUnknown if the store cannot tell whether
	// the commit happened.
	Update(ctx context.Context, subject string, fn func(Tx) error) error

	// List yields the records that f selects, dead or alive. Those of one subject come in ID order.
	List(ctx context.Context, f Filter) iter.Seq2[Record, error]

	// Sweep deletes at most limit records that were dead before deadBefore and
	// returns how many it deleted.
	Sweep(ctx context.Context, deadBefore time.Time, limit int) (int, error)

	// Close writes the deferred Touches and releases everything. It waits for calls that are under
	// way. A second Close returns nil.
	Close() error
}

// Tx gives fn access to the records of one subject during an Update. Only the goroutine that runs
// fn may use it, and only while fn runs.
type Tx interface {
	// Get returns the record of id. The error is ErrNotFound if there is none or if it belongs to
	// another subject, and ErrCorrupt if it is damaged.
	Get(id ID) (Record, error)

	// Records yields every record of the subject, dead or alive, in ID order. The loop body may
	// Put; the loop does not yield the records that it creates.
	Records() iter.Seq2[Record, error]

	// Living yields, in ID order, every record of the subject that has no end and an ExpiresAt
	// after now. It may yield other records, so that the caller asks Token.Live. The loop body may
	// Put and Delete, as that of Records may. The cost does not grow with the number of dead
	// records (S30).
	Living(now time.Time) iter.Seq2[Record, error]

	// Put creates or replaces the record r.ID. The error is ErrConflict in seven cases: another
	// subject holds that ID, r.Subject is not the subject of the Update, this Tx has deleted that
	// ID, r would change an end, r has EndedBy or EndNote and no end, r would change the
	// Thumbprint, or r lowers ExpiresAt without a cap that keeps it there (S29). The store keeps
	// no memory of r.
	Put(r Record) error

	// Delete removes the record of id, dead or alive (S31). The error is ErrNotFound if there is
	// none or if it belongs to another subject, and ErrCorrupt if it is damaged.
	Delete(id ID) error
}
