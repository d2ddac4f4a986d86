package table

import (
	"math/bits"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// unsavedBits say which records of a slab are unsaved, one bit for each cell. count is how many
// bits are set. While marks are being set it may be too low, and never for longer than the call
// that sets one.
type unsavedBits struct {
	bits  [slabCells / 64]atomic.Uint64
	count atomic.Int64
}

// setUnsaved marks the record in the cell unsaved. The caller has locked the cell and has written
// the change. A record that is marked already stays marked: a flush reads the record after it has
// removed the mark, so that it sees this change, too. Most records are marked already, and a load
// costs less than a store.
func (t *Table) setUnsaved(ref uint32) {
	m, at, bit := t.unsavedBit(ref)
	if m.bits[at].Load()&bit == 0 && m.bits[at].Or(bit)&bit == 0 {
		m.count.Add(1)
		t.unsaved.Add(1)
	}
}

// clearUnsaved removes the mark of the record in the cell.
func (t *Table) clearUnsaved(ref uint32) {
	m, at, bit := t.unsavedBit(ref)
	if m.bits[at].Load()&bit != 0 && m.bits[at].And(^bit)&bit != 0 {
		m.count.Add(-1)
		t.unsaved.Add(-1)
	}
}

// unsavedBit returns where the bit of a cell is.
func (t *Table) unsavedBit(ref uint32) (m *unsavedBits, at uint32, bit uint64) {
	return (*t.slabs.dir.Load())[ref>>slabBits].unsaved, ref % slabCells / 64, 1 << (ref % 64)
}

// MarkUnsaved marks the record of id unsaved, if there is one.
func (t *Table) MarkUnsaved(id storage.ID) {
	if ref, c := t.lockRecord(t.key(&id)); c != nil {
		t.setUnsaved(ref)
		c.unlock(false)
	}
}

// Unsaved returns how many records are marked unsaved.
func (t *Table) Unsaved() int { return max(0, int(t.unsaved.Load())) }

// TakeUnsaved removes the marks of at most n records and returns their IDs, in any order. A later
// read of such a record sees the change that the mark was for, and a later change marks the record
// again. Calls go through all records in turn, so that each marked record is returned some time,
// however often others are marked.
//
// TakeUnsaved adds the number of records to inHand before it removes their marks: a caller that
// reads Unsaved first and inHand second misses none.
func (t *Table) TakeUnsaved(n int, inHand *atomic.Int64) (ids []storage.ID) {
	dir := t.slabs.dir.Load()
	if dir == nil || t.unsaved.Load() <= 0 {
		return nil
	}
	at, refs := t.unsavedScan.Load(), uint32(len(*dir))*slabCells
	// One word more than there are: the first word may be entered in its middle, and its rest comes last.
	for left := refs/64 + 1; left > 0 && len(ids) < n; left-- {
		if at >= refs {
			at = 0
		}
		ids, at = t.takeWord(ids, n, at, inHand)
	}
	t.unsavedScan.Store(at)
	return ids
}

// takeWord removes marks from the cells between ref at and the end of their word of bits, until
// ids has n elements. It returns the ref behind them.
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
	inHand.Add(int64(bits.OnesCount64(taken) - bits.OnesCount64(wanted))) // a Delete may have removed some marks meanwhile
	m.count.Add(-int64(bits.OnesCount64(taken)))
	t.unsaved.Add(-int64(bits.OnesCount64(taken)))
	for ; taken != 0; taken &= taken - 1 {
		ref := at&^63 + uint32(bits.TrailingZeros64(taken))
		if w, ok := t.slabs.cell(ref).snapshot(); ok {
			ids = append(ids, w.id())
		}
	}
	return ids, end
}
