package table

// Dead texts are not written over, so now and then the living ones must move out
// of the chunks that are mostly dead. Writers do it, each a few steps. At worst the
// dead take one and a half times the room of the living, and some slack.
const (
	compactWork  = 32 // cells that every write looks at while a move is under way
	compactBytes = 16 // and one more for so many bytes of its texts
	moveBytes    = 64 // bytes that are moved instead of looking at a cell
	compactSlack = 4 * chunkSize
)

// compaction is a walk through all cells that moves texts out of the sparse chunks.
type compaction struct {
	on   bool
	next uint32 // the cell
}

// compact takes at most work steps of a move, or begins one once the dead texts are more
// than half as many as the living ones, and some slack. Chunks less than three
// quarters alive are then the sparse ones; there must be such.
func (t *Table) compact(work int) {
	x := &t.texts
	if !t.compaction.on {
		if x.garbage() <= x.live/2+compactSlack {
			return
		}
		for number := range x.info {
			info := &x.info[number]
			info.sparse = info.live > 0 && uint32(number) != x.current && info.live < info.size/4*3
		}
		t.compaction = compaction{on: true, next: 1}
	}
	for top := t.slabs.top.Load(); work > 0; work-- {
		if t.compaction.next > top {
			t.compaction.on = false
			return
		}
		work -= t.moveTexts(t.slabs.cell(t.compaction.next)) / moveBytes
		t.compaction.next++
	}
}

// moveTexts moves the texts of the cell out of a sparse chunk and returns their length.
func (t *Table) moveTexts(c *cell) int {
	text := c.load(wText)
	if c.load(wMeta)&occupied == 0 || !t.texts.info[text>>(placeShift+offsetBits)].sparse {
		return 0
	}
	old := c.words()
	n := t.texts.length(&old)
	if n == 0 {
		return 0
	}
	from := t.texts.chunk(text)
	place, b := t.texts.alloc(n)
	copy(b, from[text>>placeShift%chunkSize:])
	c.lock()
	c.store(wText, place<<placeShift|text&(1<<placeShift-1))
	c.unlock(true)
	t.texts.release(&old)
	return n
}
