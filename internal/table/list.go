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

// inOrderOfIssue is inOrder for the IDs from the lists of a subject. There the leader comes first,
// and each new record goes right behind it, so that reversing the rest mostly sorts the IDs.
func inOrderOfIssue(ids []storage.ID) []storage.ID {
	if len(ids) > 1 {
		slices.Reverse(ids[1:])
	}
	return inOrder(ids)
}

// Before returns the IDs of all records that may be dead before the instant, in order and each
// once. Its cost grows with the number of those records while they are few. A record that is put or
// deleted meanwhile may be among them or not.
func (t *Table) Before(before time.Time) []storage.ID {
	ms := milliUp(before)
	t.mu.Lock()
	refs, all := t.expiries.appendBefore(nil, expiryKey(ms), 2*stepSize)
	var ids []storage.ID
	if all {
		for _, ref := range refs {
			if t.expiries.deadFrom(ref) < ms {
				ids = append(ids, t.slabs.cell(ref).id())
			}
		}
	}
	t.mu.Unlock()
	if !all {
		ids = t.scanCells(func(w *words) bool { return w.deadFrom() < ms })
	}
	return inOrder(ids)
}

// All returns the IDs of all records in order. A record that is put or deleted meanwhile may be
// among them or not.
func (t *Table) All() []storage.ID {
	return inOrder(t.scanCells(func(*words) bool { return true }))
}

// scanCells returns the IDs of all records for which wanted reports true. It reads cell by cell,
// without the table's lock. A record never changes its cell, so that no record that stays is
// missed.
func (t *Table) scanCells(wanted func(*words) bool) (ids []storage.ID) {
	top := t.slabs.top.Load()
	for ref := uint32(1); ref <= top; ref++ {
		if w, ok := t.slabs.cell(ref).snapshot(); ok && wanted(&w) {
			ids = append(ids, w.id())
		}
	}
	return ids
}

// inOrder sorts ids and removes duplicates.
func inOrder(ids []storage.ID) []storage.ID {
	if !slices.IsSortedFunc(ids, storage.ID.Compare) {
		slices.SortFunc(ids, storage.ID.Compare)
	}
	return slices.Compact(ids)
}
