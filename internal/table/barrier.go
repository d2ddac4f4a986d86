package table

import (
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// barrier is a write that is held and what of a Touch in the table does not pass it: of a
// Delete nothing, for the table shows a record that has nothing to do with what is put
// under the ID afterwards; of a Put that lowers MaxExpiresAt no expiry beyond that,
// although one behind it may have raised the cap again.
type barrier struct {
	deletes bool
	limit   time.Time

	// What follows is guarded by the table's lock.
	under    *barrier // the one before it
	revealed bool     // and those under it
}

// follow sets the barrier of w, which replaces a record, whose last one before that is
// under.
func (w *Write) follow(under *barrier) {
	w.barrier = under
	limit := w.Record.MaxExpiresAt
	if !w.creates && !limit.IsZero() && (w.limit.IsZero() || limit.Before(w.limit)) {
		w.barrier = &barrier{limit: limit, under: under}
	}
}

// reveal says that the table shows what the barrier is of. Its caller has locked the table.
func (b *barrier) reveal() {
	if b != nil {
		b.revealed, b.under = true, nil
	}
}

// barrierOf returns the last barrier of what is held of id.
func (s *Stage) barrierOf(id storage.ID) *barrier {
	if w := s.held[id]; w != nil {
		return w.barrier
	}
	return nil
}

// raise applies to r, which w holds, what a Touch has raised in the table since the
// update that put r saw it: r will be shown like that.
func (s *Stage) raise(r *storage.Record, w *Write) {
	limit, passes := s.limit(w.barrier)
	var shown storage.Record
	if !passes || !s.table.Get(r.ID, &shown) {
		return
	}
	var use storage.Use
	if shown.LastUsedAt.After(w.seen.At) {
		use.At = shown.LastUsedAt
	}
	if shown.ExpiresAt.After(w.seen.ExpiresAt) {
		use.ExpiresAt = shown.ExpiresAt
	}
	if !limit.IsZero() && limit.Before(use.ExpiresAt) {
		use.ExpiresAt = limit
	}
	use.Raise(r)
}

// limit returns the latest expiry that passes the barriers that are not revealed, zero if
// any does, and whether anything passes.
func (s *Stage) limit(b *barrier) (limit time.Time, passes bool) {
	if b == nil {
		return limit, true
	}
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	for ; b != nil && !b.revealed; b = b.under {
		if b.deletes {
			return limit, false
		}
		if limit.IsZero() || b.limit.Before(limit) {
			limit = b.limit
		}
	}
	return limit, true
}
