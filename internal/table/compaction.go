package table

// A chunk of texts is never written over, so that the live texts must leave the chunks in which
// most texts are garbage. Each write does a few steps of that work. At worst the garbage takes
// one and a half times the memory of the live texts, and compactSlack.
const (
	compactWork  = 32 // cells that each write examines during a compaction
	compactBytes = 16 // one more cell for so many bytes of texts in the write
	moveBytes    = 64 // moving so many bytes costs as much as examining a cell
	compactSlack = 4 * chunkSize
)

// compaction is the state of a walk through all cells that moves texts out of the sparse chunks.
type compaction struct {
	on   bool
	next uint32 // the cell to examine next
}

// compact takes at most work steps of a compaction. It starts one when the garbage is more than
// half of the live texts and compactSlack. The sparse chunks are then those of which less than
// three quarters is live; there must be such chunks.
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

// moveTexts moves the texts of the cell out of a sparse chunk and returns how many bytes it moved.
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
