package table

import (
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// touchLimit is a write that is held and what of a Touch in the table does not pass it: of a
// Delete nothing, for the table shows a record that has nothing to do with what is put
// under the ID afterwards; of a Put that lowers MaxExpiresAt no expiry beyond that,
// although one behind it may have raised the cap again.
type touchLimit struct {
	blocks bool
	expiry time.Time

	// What follows is guarded by the table's lock.
	older *touchLimit // the one before it
	shown bool        // and those under it
}

// limitTouches sets the barrier of w, which replaces a record, whose last one before that is
// under.
func (w *Write) limitTouches(under *touchLimit) {
	w.touchLimit = under
	limit := w.Record.MaxExpiresAt
	if !w.creates && !limit.IsZero() && (w.limit.IsZero() || limit.Before(w.limit)) {
		w.touchLimit = &touchLimit{expiry: limit, older: under}
	}
}

// markShown says that the table shows what the barrier is of. Its caller has locked the table.
func (b *touchLimit) markShown() {
	if b != nil {
		b.shown, b.older = true, nil
	}
}

// touchLimitOf returns the last barrier of what is held of id.
func (s *Stage) touchLimitOf(id storage.ID) *touchLimit {
	if w := s.held[id]; w != nil {
		return w.touchLimit
	}
	return nil
}

// applyTouches applies to r, which w holds, what a Touch has raised in the table since the
// update that put r saw it: r will be shown like that.
func (s *Stage) applyTouches(r *storage.Record, w *Write) {
	limit, passes := s.allowedTouch(w.touchLimit)
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

// allowedTouch returns the latest expiry that passes the barriers that are not revealed, zero if
// any does, and whether anything passes.
func (s *Stage) allowedTouch(b *touchLimit) (limit time.Time, passes bool) {
	if b == nil {
		return limit, true
	}
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	for ; b != nil && !b.shown; b = b.older {
		if b.blocks {
			return limit, false
		}
		if limit.IsZero() || b.expiry.Before(limit) {
			limit = b.expiry
		}
	}
	return limit, true
}
