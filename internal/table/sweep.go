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
	key := deathKey(ms)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.deaths.nextRound()
	steps := n
	for steps > 0 {
		slot, due := t.deaths.due(key, &steps)
		if slot == 0 && !due {
			slot = t.deaths.putBack()
		}
		if slot == 0 || steps == 0 {
			break
		}
		steps--
		c := t.slabs.cell(slot)
		w := c.words()
		id := w.id()
		if busy != nil && busy(id) {
			t.deaths.unlink(slot)
			t.deaths.push(asideNode, lookedOver, slot)
		} else if dead, at := t.kill(slot, c, ms); dead {
			t.remove(slot, c, t.key(&id))
			gone = append(gone, id)
		} else {
			t.deaths.unlink(slot)
			t.deaths.file(slot, at)
		}
	}
	t.tidy(tidyWork / 4 * len(gone))
	none := 0
	_, more = t.deaths.due(key, &none)
	return gone, more || t.deaths.putBack() != 0
}

// AnyDue reports whether TakeDead would look at anything.
func (t *Table) AnyDue(before time.Time) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	none := 0
	_, more := t.deaths.due(deathKey(milliUp(before)), &none)
	return more || t.deaths.nodes != nil && t.deaths.nodes[asideNode].filled != 0
}

// nextRound makes those that were found busy to be looked at again, once all of them
// have been looked at.
func (x *deaths) nextRound() {
	if x.nodes == nil {
		return
	}
	n := x.nodes[asideNode]
	if n.heads[putAside] == 0 && n.heads[lookedOver] != 0 {
		n.heads[putAside] = n.heads[lookedOver]
		n.filled |= 1 << putAside
		n.empty(lookedOver)
		x.slabs.cell(n.heads[putAside]).death.prev = inNode | asideNode<<listBits | putAside
	}
}

// putBack returns a record to be looked at again in this round, or 0.
func (x *deaths) putBack() uint32 {
	if x.nodes == nil {
		return 0
	}
	return x.nodes[asideNode].heads[putAside]
}
