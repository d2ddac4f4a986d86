package storage

import (
	"context"
	"iter"
	"time"
)

// Store keeps records. The clauses S1 to S22 and S27 to S31 of the package comment are
// part of this interface, and [github.com/seed-55daa01a/lapse/storage/storagetest.Run]
// checks them.
//
// Errors wrap one of this package's, or the context's. A store that fails for
// any other reason wraps ErrUnavailable.
type Store interface {
	// Get returns the record of id, dead or alive. ErrNotFound if there is none,
	// ErrCorrupt if it is damaged.
	Get(ctx context.Context, id ID) (Record, error)

	// Touch raises LastUsedAt and ExpiresAt of the record of id to what use
	// says and never lowers them. No effect, and no error, if the record is
	// ended or absent. It may be written later (S13).
	Touch(ctx context.Context, id ID, use Use) error

	// Update runs fn on the records of one subject, serializable and all or
	// nothing, durable once it returns nil. fn may run more than once. An error
	// from fn aborts and is returned as it is. ErrOutcomeUnknown if it cannot be
	// told whether the commit happened.
	Update(ctx context.Context, subject string, fn func(Tx) error) error

	// List yields the records that f selects, dead or alive, in ID order.
	List(ctx context.Context, f Filter) iter.Seq2[Record, error]

	// Sweep deletes at most limit records that were dead before deadBefore and
	// returns how many it deleted.
	Sweep(ctx context.Context, deadBefore time.Time, limit int) (int, error)

	// Close writes what Touch deferred and releases everything. It waits for
	// calls that are under way. Closing twice is no error.
	Close() error
}

// Tx is one subject's records inside Update. It is for the goroutine that runs
// fn, and only while fn runs.
type Tx interface {
	// Get returns the record of id. ErrNotFound if there is none or if it is
	// another subject's, ErrCorrupt if it is damaged.
	Get(id ID) (Record, error)

	// Records yields every record of the subject, dead or alive, in ID order.
	// The loop body may Put; what it creates is not among those yet to come.
	Records() iter.Seq2[Record, error]

	// Living yields every record of the subject that has no end and an ExpiresAt
	// after now, in ID order. It may yield others: the caller asks Token.Live. The
	// loop body may Put and Delete, as that of Records may. Its cost does not grow
	// with the records that are dead (S30).
	Living(now time.Time) iter.Seq2[Record, error]

	// Put creates or replaces the record of r.ID. ErrConflict if another
	// subject holds that ID, if r.Subject is not the subject of the Update, if
	// this Tx has deleted that ID, if it would change an end, or if it lowers
	// ExpiresAt without a cap that keeps it there (S29). Nothing is kept of r.
	Put(r Record) error

	// Delete removes the record of id, dead or alive (S31). ErrNotFound if there is
	// none or if it is another subject's, ErrCorrupt if it is damaged.
	Delete(id ID) error
}

// CheckPut returns the error that S7, S8 and S29 demand for replacing old by r in an
// Update of subject, or nil. old is nil where no record holds r.ID.
func CheckPut(subject string, old *Record, r Record) error {
	switch {
	case r.Subject != subject:
		return errForeignRecord
	case old == nil:
		return nil
	case old.Subject != subject:
		return errTakenID
	case !old.EndedAt.IsZero() && (!r.EndedAt.Equal(old.EndedAt) || r.EndReason != old.EndReason):
		return errRevival
	case r.ExpiresAt.Before(old.ExpiresAt) && (r.MaxExpiresAt.IsZero() || r.MaxExpiresAt.After(r.ExpiresAt)):
		return errUncapped
	}
	return nil
}
