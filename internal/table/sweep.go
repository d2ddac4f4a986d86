package table

import (
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TakeDead looks at no more than n of the records that may have been dead before the
// instant, deletes those that were, and returns their IDs: whose DeadFrom lies before it,
// by what is stored at that moment. A Touch that returned true can bring a
// record back until then, and finds none afterwards.
//
// One for which busy reports true stays as it is, and a later call finds it again.
// busy may be nil; it is called with the table locked and must not call the table. more is
// false when nothing is left to look at but those.
func (t *Table) TakeDead(before time.Time, n int, busy func(storage.ID) bool) (gone []storage.ID, more bool) {
	ms := milliUp(before)
	key := expiryKey(ms)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expiries.startBusyRound()
	steps := n
	for steps > 0 {
		slot, due := t.expiries.due(key, &steps)
		if slot == 0 && !due {
			slot = t.expiries.nextBusy()
		}
		if slot == 0 || steps == 0 {
			break
		}
		steps--
		c := t.slabs.cell(slot)
		w := c.words()
		id := w.id()
		if busy != nil && busy(id) {
			t.expiries.unlink(slot)
			t.expiries.push(busyNode, busyDone, slot)
		} else if dead, at := t.hide(slot, c, ms); dead {
			t.remove(slot, c, t.key(&id))
			gone = append(gone, id)
		} else {
			t.expiries.unlink(slot)
			t.expiries.insert(slot, at)
		}
	}
	t.compact(compactWork / 4 * len(gone))
	none := 0
	_, more = t.expiries.due(key, &none)
	return gone, more || t.expiries.nextBusy() != 0
}

// AnyDue reports whether TakeDead would look at anything.
func (t *Table) AnyDue(before time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	none := 0
	_, more := t.expiries.due(expiryKey(milliUp(before)), &none)
	return more || t.expiries.nodes != nil && t.expiries.nodes[busyNode].filled != 0
}

// startBusyRound makes those that were found busy to be looked at again, once all of them
// have been looked at.
func (x *expiryIndex) startBusyRound() {
	if x.nodes == nil {
		return
	}
	n := x.nodes[busyNode]
	if n.heads[busyPending] == 0 && n.heads[busyDone] != 0 {
		n.heads[busyPending] = n.heads[busyDone]
		n.filled |= 1 << busyPending
		n.clearList(busyDone)
		x.slabs.cell(n.heads[busyPending]).expiryLink.prev = inNode | busyNode<<listBits | busyPending
	}
}

// nextBusy returns a record to be looked at again in this round, or 0.
func (x *expiryIndex) nextBusy() uint32 {
	if x.nodes == nil {
		return 0
	}
	return x.nodes[busyNode].heads[busyPending]
}
