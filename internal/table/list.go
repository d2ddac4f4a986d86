package table

import (
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Subject appends the IDs of the subject's records to ids, in order.
func (t *Table) Subject(ids []storage.ID, subject string) []storage.ID {
	from := len(ids)
	w := subjectWalk{table: t, hash: t.subjectHash(subject), subject: subject}
	w.all(func() { ids = ids[:from] }, func(_ uint64, _ uint32, c *cell) outcome {
		ids = append(ids, c.id())
		return stays
	})
	return ids[:from+len(inOrderOfIssue(ids[from:]))]
}

// inOrderOfIssue is inOrder for what comes out of the lists of a subject, where the leader
// is first, and a new record goes right behind it.
func inOrderOfIssue(ids []storage.ID) []storage.ID {
	if len(ids) > 1 {
		slices.Reverse(ids[1:])
	}
	return inOrder(ids)
}

// Before returns the IDs of all records that may be dead before the instant, or
// expire before it, in order and each once. If they are few its cost grows
// with their number alone. A record put or deleted meanwhile may be among them or
// not.
func (t *Table) Before(before time.Time) []storage.ID {
	ms := milliUp(before)
	t.mu.Lock()
	slots, all := t.expiries.appendBefore(nil, expiryKey(ms), 2*stepSize)
	var ids []storage.ID
	if all {
		for _, slot := range slots {
			if t.expiries.deadFrom(slot) < ms {
				ids = append(ids, t.slabs.cell(slot).id())
			}
		}
	}
	t.mu.Unlock()
	if !all {
		ids = t.scanCells(func(w *words) bool { return w.deadFrom() < ms })
	}
	return inOrder(ids)
}

// All returns the IDs of all records in order. One put or deleted meanwhile may be
// among them or not.
func (t *Table) All() []storage.ID {
	return inOrder(t.scanCells(func(*words) bool { return true }))
}

// scanCells returns the IDs of all records that are wanted, cell by cell and without the
// lock. A record stays in its cell, so it meets all that stay.
func (t *Table) scanCells(wanted func(*words) bool) (ids []storage.ID) {
	top := t.slabs.top.Load()
	for slot := uint32(1); slot <= top; slot++ {
		if w, ok := t.slabs.cell(slot).snapshot(); ok && wanted(&w) {
			ids = append(ids, w.id())
		}
	}
	return ids
}

// inOrder sorts ids and leaves each once.
func inOrder(ids []storage.ID) []storage.ID {
	if !slices.IsSortedFunc(ids, storage.ID.Compare) {
		slices.SortFunc(ids, storage.ID.Compare)
	}
	return slices.Compact(ids)
}
