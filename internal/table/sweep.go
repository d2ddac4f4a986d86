package table

import (
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// TakeDead deletes records whose DeadFrom lies before the instant and returns their IDs. It
// examines at most n records. DeadFrom is judged at the moment of deletion: a Touch that returned
// true can bring a record back until then, and finds no record afterwards.
//
// A record for which busy reports true stays as it is, and a later call examines it again. busy may
// be nil; it is called with the table locked and must not call the table. more is false when no
// records are left to examine except busy ones that this call has examined.
func (t *Table) TakeDead(before time.Time, n int, busy func(storage.ID) bool) (gone []storage.ID, more bool) {
	ms := milliUp(before)
	key := expiryKey(ms)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.expiries.startBusyRound()
	steps := n
	for steps > 0 {
		ref, due := t.expiries.due(key, &steps)
		if ref == 0 && !due {
			ref = t.expiries.nextBusy()
		}
		if ref == 0 || steps == 0 {
			break
		}
		steps--
		if id := t.slabs.cell(ref).id(); t.takeDead(ref, id, ms, busy) {
			gone = append(gone, id)
		}
	}
	t.compact(compactWork / 4 * len(gone))
	none := 0
	_, more = t.expiries.due(key, &none)
	return gone, more || t.expiries.nextBusy() != 0
}

// takeDead deletes the record of id if it was dead before the instant and is not busy, and reports
// whether it did. It files a record that stays under its present death, or among the busy ones.
func (t *Table) takeDead(ref uint32, id storage.ID, before int64, busy func(storage.ID) bool) bool {
	if busy != nil && busy(id) {
		t.expiries.unlink(ref)
		t.expiries.push(busyNode, busyDone, ref)
		return false
	}
	c := t.slabs.cell(ref)
	dead, at := t.hide(ref, c, before)
	if dead {
		t.remove(ref, c, t.key(&id))
		return true
	}
	t.expiries.unlink(ref)
	t.expiries.fileUnder(ref, at)
	return false
}

// AnyDue reports whether TakeDead would examine any record.
func (t *Table) AnyDue(before time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	none := 0
	_, more := t.expiries.due(expiryKey(milliUp(before)), &none)
	return more || t.expiries.nodes != nil && t.expiries.nodes[busyNode].filled != 0
}

// startBusyRound makes all busy records pending again once each of them has been examined.
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

// nextBusy returns a busy record that this round has not examined, or 0.
func (x *expiryIndex) nextBusy() uint32 {
	if x.nodes == nil {
		return 0
	}
	return x.nodes[busyNode].heads[busyPending]
}
