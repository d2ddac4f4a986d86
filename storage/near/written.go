package near

import (
	"errors"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// written is what the runs of the function of an Update have put and deleted.
type written struct {
	ids   []storage.ID // of all runs
	takes bool         // the last run takes something away that a copy elsewhere may still give
}

// wrap returns tx with every write noted in w.
func (w *written) wrap(tx storage.Tx) storage.Tx {
	noted := &noting{tx: tx, w: w, read: map[storage.ID]*storage.Record{}}
	if f, ok := tx.(storage.Fitter); ok {
		return &fitting{noted, f}
	}
	return noted
}

// noting is a storage.Tx that notes what is put and deleted. It remembers what it has read, to tell what
// a Put changes.
type noting struct {
	tx   storage.Tx
	w    *written
	read map[storage.ID]*storage.Record // nil: there was no such record
}

// fitting is a noting over a Tx that is a storage.Fitter.
type fitting struct {
	*noting
	fitter storage.Fitter
}

// PutIfFits implements storage.Fitter. A record that it puts is a new one.
func (f *fitting) PutIfFits(r *storage.Record, n int, now time.Time) bool {
	fits := f.fitter.PutIfFits(r, n, now)
	if fits {
		f.read[r.ID] = nil
	}
	return fits
}

// Get implements storage.Tx.
func (n *noting) Get(id storage.ID) (storage.Record, error) {
	rec, err := n.tx.Get(id)
	switch {
	case err == nil:
		n.read[id] = &rec
	case errors.Is(err, storage.ErrNotFound):
		n.read[id] = nil
	}
	return rec, err
}

// Records implements storage.Tx.
func (n *noting) Records() iter.Seq2[storage.Record, error] { return n.noted(n.tx.Records()) }

// Living implements storage.Tx.
func (n *noting) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return n.noted(n.tx.Living(now))
}

// noted yields what all yields, and remembers it.
func (n *noting) noted(all iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for rec, err := range all {
			if err == nil {
				n.read[rec.ID] = &rec
			}
			if !yield(rec, err) {
				return
			}
		}
	}
}

// Put implements storage.Tx.
func (n *noting) Put(r storage.Record) error {
	err := n.tx.Put(r)
	if err != nil {
		return err
	}
	old, known := n.read[r.ID]
	if known && old == nil { // of a record that this run has made there are no copies
		return nil
	}
	n.w.ids = append(n.w.ids, r.ID)
	if !known || takes(old, &r) {
		n.w.takes = true
	}
	n.read[r.ID] = &r
	return nil
}

// Delete implements storage.Tx.
func (n *noting) Delete(id storage.ID) error {
	err := n.tx.Delete(id)
	if err == nil {
		n.w.ids, n.w.takes = append(n.w.ids, id), true
	}
	return err
}

// takes reports whether r takes away something that a copy of old gives: life, a secret, or a word of
// what the token says.
func takes(old, r *storage.Record) bool {
	if !kept(old) {
		return false
	}
	return !r.EndedAt.IsZero() || old.SuspendedAt.IsZero() && !r.SuspendedAt.IsZero() ||
		r.ExpiresAt.Before(old.ExpiresAt) || lowered(old.MaxExpiresAt, r.MaxExpiresAt) ||
		r.Digest != old.Digest || r.PreviousUntil.Before(old.PreviousUntil) ||
		r.Scope != old.Scope || r.Name != old.Name || r.Data != old.Data || r.MaxUses != old.MaxUses
}

// lowered reports whether a cap, where zero is none, is lower than it was.
func lowered(was, is time.Time) bool {
	return !is.IsZero() && (was.IsZero() || is.Before(was))
}
