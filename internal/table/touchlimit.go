package table

import (
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// touchLimit says how much of a Touch in the table applies to a staged record, because of a write
// that is held below that record. The table still shows the record from before that write.
//
// A Delete blocks every Touch: the record in the table has nothing to do with a record that is put
// under the same ID afterwards. A Put that lowers MaxExpiresAt limits the expiry to that, even
// where a later held Put has raised MaxExpiresAt again.
type touchLimit struct {
	blocks bool
	expiry time.Time

	// The table's lock guards the fields below.
	older *touchLimit // the limit of the write before
	shown bool        // the table shows the write, and all older ones
}

// limitTouches sets the limit that applies to records put after w. older is the limit of the writes
// before w. w replaces a record.
func (w *Write) limitTouches(under *touchLimit) {
	w.touchLimit = under
	limit := w.Record.MaxExpiresAt
	if !w.creates && !limit.IsZero() && (w.limit.IsZero() || limit.Before(w.limit)) {
		w.touchLimit = &touchLimit{expiry: limit, older: under}
	}
}

// markShown notes that the table shows the write of the limit: the limit ends. The caller has
// locked the table.
func (b *touchLimit) markShown() {
	if b != nil {
		b.shown, b.older = true, nil
	}
}

// touchLimitOf returns the limit of the newest held write of id, or nil.
func (s *Stage) touchLimitOf(id storage.ID) *touchLimit {
	if w := s.held[id]; w != nil {
		return w.touchLimit
	}
	return nil
}

// applyTouches raises r, which w holds, by each Touch in the table that came after the update of w
// had read the record. The table will show r like that.
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

// allowedTouch returns the latest expiry that the limits allow, or zero if they allow any, and
// whether they let a Touch pass at all. A limit of a write that the table shows does not count.
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
