package table

import (
	"math/bits"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// unsavedBits tell which records of a slab are unsaved, a bit for each cell, and about
// how many: no fewer than have been marked and told of it.
type unsavedBits struct {
	bits  [slabCells / 64]atomic.Uint64
	count atomic.Int64
}

// setUnsaved marks the record in the cell. The caller has locked the cell and written what the mark is
// for. Where the record is marked already, that mark does: a flush reads a record after it has
// taken the mark off. Most are marked, and to look costs less than to write.
func (t *Table) setUnsaved(slot uint32) {
	m, at, bit := t.unsavedBit(slot)
	if m.bits[at].Load()&bit == 0 && m.bits[at].Or(bit)&bit == 0 {
		m.count.Add(1)
		t.unsaved.Add(1)
	}
}

// clearUnsaved undoes mark.
func (t *Table) clearUnsaved(slot uint32) {
	m, at, bit := t.unsavedBit(slot)
	if m.bits[at].Load()&bit != 0 && m.bits[at].And(^bit)&bit != 0 {
		m.count.Add(-1)
		t.unsaved.Add(-1)
	}
}

func (t *Table) unsavedBit(slot uint32) (m *unsavedBits, at uint32, bit uint64) {
	return (*t.slabs.dir.Load())[slot>>slabBits].unsaved, slot % slabCells / 64, 1 << (slot % 64)
}

// MarkUnsaved marks the record of id, if there is one.
func (t *Table) MarkUnsaved(id storage.ID) {
	if slot, c := t.lockRecord(t.key(&id)); c != nil {
		t.setUnsaved(slot)
		c.unlock(false)
	}
}

// Unsaved returns how many records are marked.
func (t *Table) Unsaved() int { return max(0, int(t.unsaved.Load())) }

// TakeUnsaved takes the marks off at most n records and returns their IDs, in any
// order. A read of a record after that sees what its mark was for, and what comes later
// marks the record again. Every marked record has its turn, however often others are marked.
//
// It adds to inHand how many it takes, before it takes them: a caller that reads Unsaved
// and then inHand misses none.
func (t *Table) TakeUnsaved(n int, inHand *atomic.Int64) (ids []storage.ID) {
	dir := t.slabs.dir.Load()
	if dir == nil || t.unsaved.Load() <= 0 {
		return nil
	}
	at, slots := t.unsavedScan.Load(), uint32(len(*dir))*slabCells
	// One word more than there are, since the first may be begun in its middle.
	for left := slots/64 + 1; left > 0 && len(ids) < n; left-- {
		if at >= slots {
			at = 0
		}
		ids, at = t.takeWord(ids, n, at, inHand)
	}
	t.unsavedScan.Store(at)
	return ids
}

// takeWord takes marks off the cells from slot at to the end of their word, until
// ids has n, and returns the slot behind them.
func (t *Table) takeWord(ids []storage.ID, n int, at uint32, inHand *atomic.Int64) ([]storage.ID, uint32) {
	m, word, bit := t.unsavedBit(at)
	end := at&^63 + 64
	if m.count.Load() <= 0 {
		return ids, end
	}
	var wanted uint64
	marked := m.bits[word].Load() &^ (bit - 1)
	for room := n - len(ids); marked != 0 && room > 0; room-- {
		wanted |= marked & -marked
		marked &= marked - 1
	}
	if marked != 0 {
		end = at&^63 + uint32(bits.Len64(wanted))
	}
	if wanted == 0 {
		return ids, end
	}
	inHand.Add(int64(bits.OnesCount64(wanted)))
	taken := m.bits[word].And(^wanted) & wanted
	inHand.Add(int64(bits.OnesCount64(taken) - bits.OnesCount64(wanted))) // an end may have taken some
	m.count.Add(-int64(bits.OnesCount64(taken)))
	t.unsaved.Add(-int64(bits.OnesCount64(taken)))
	for ; taken != 0; taken &= taken - 1 {
		slot := at&^63 + uint32(bits.TrailingZeros64(taken))
		if w, ok := t.slabs.cell(slot).snapshot(); ok {
			ids = append(ids, w.id())
		}
	}
	return ids, end
}
