package table

import (
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Subject appends the IDs of the subject's records to ids, in order.
func (t *Table) Subject(ids []storage.ID, subject string) []storage.ID {
	from := len(ids)
	hash := t.subjectHash(subject)
	for restarts := 0; ; restarts++ {
		ids = ids[:from]
		var slot uint32
		var whole bool
		for whole = false; !whole; {
			ids, slot, whole = t.subjectStep(ids, slot, hash, subject, restarts < patience)
			if slot == 0 {
				break
			}
		}
		if whole {
			break
		}
	}
	mine := ids[from:]
	if len(mine) > 1 {
		// The leader came first, and who comes behind it goes to the front.
		slices.Reverse(mine[1:])
	}
	return ids[:from+len(inOrder(mine))]
}

const (
	stepSize = 1024 // records that one hold of the lock looks at
	patience = 3    // restarts of a walk before it is made in one piece
)

// subjectStep appends the IDs that come after slot in the subject's list, all of
// them if slot is 0. If it stops at some point it returns where; 0 there means that
// the record has left the list meanwhile, so that the walk must start again.
func (t *Table) subjectStep(ids []storage.ID, slot uint32, hash uint64, subject string, pause bool) (_ []storage.ID, at uint32, whole bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if slot == 0 {
		slot = t.subjects.leader(hash, subject, &t.texts)
	} else if c := t.slabs.cell(slot); c.load(wMeta)&live == 0 || t.subjects.hashOf(slot) != hash || !t.subjects.is(slot, subject, &t.texts) {
		return ids, 0, false
	} else {
		slot = c.subject.next
	}
	for n := 1; slot != 0; n++ {
		c := t.slabs.cell(slot)
		ids = append(ids, c.id())
		if pause && n == stepSize {
			return ids, slot, false
		}
		slot = c.subject.next
	}
	return ids, 0, true
}

// Before returns the IDs of all records that may be dead before the instant, or
// expire before it, in order and each once. If they are few its cost grows
// with their number alone. A record put or deleted meanwhile may be among them or
// not.
func (t *Table) Before(before time.Time) []storage.ID {
	ms := milliUp(before)
	t.mu.Lock()
	slots, all := t.deaths.before(nil, deathKey(ms), 2*stepSize)
	var ids []storage.ID
	if all {
		for _, slot := range slots {
			if t.deaths.retainFrom(slot) < ms {
				ids = append(ids, t.slabs.cell(slot).id())
			}
		}
	}
	t.mu.Unlock()
	if !all {
		ids = t.walk(func(w *words) bool { return w.retainFrom() < ms })
	}
	return inOrder(ids)
}

// All returns the IDs of all records in order. One put or deleted meanwhile may be
// among them or not.
func (t *Table) All() []storage.ID {
	return inOrder(t.walk(func(*words) bool { return true }))
}

// walk returns the IDs of all records that are wanted, cell by cell and without the
// lock. A record stays in its cell, so it meets all that stay.
func (t *Table) walk(wanted func(*words) bool) (ids []storage.ID) {
	top := t.slabs.top.Load()
	for slot := uint32(1); slot <= top; slot++ {
		if w, ok := t.slabs.cell(slot).steady(); ok && wanted(&w) {
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
