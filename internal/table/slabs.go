package table

import "sync/atomic"

const (
	slabBits  = 10
	slabCells = 1 << slabBits
)

// slabs are the cells, numbered from 1: 0 is no cell. They are found through a
// directory that is copied when it grows, so that no reader waits.
type slabs struct {
	dir  atomic.Pointer[[]slab]
	_    cachePad
	top  atomic.Uint32 // the highest number ever published
	free uint32        // the first of the cells given back, chained by their death links
}

// cachePad keeps what readers load all the time out of the cache line that writers
// change all the time.
type cachePad [64]byte

type slab struct {
	cells   *[slabCells]cell
	unsaved *unsavedBits
}

func (s *slabs) cell(slot uint32) *cell {
	dir := *s.dir.Load()
	return &dir[slot>>slabBits].cells[slot%slabCells]
}

// take returns a cell. fresh means that no reader knows the cell before publish,
// until when the table's lock must be held.
func (s *slabs) take() (slot uint32, c *cell, fresh bool) {
	if slot = s.free; slot != 0 {
		c = s.cell(slot)
		s.free = c.expiryLink.next
		return slot, c, false
	}
	if slot = s.top.Load() + 1; int(slot>>slabBits) == s.count() {
		s.grow()
	}
	return slot, s.cell(slot), true
}

func (s *slabs) count() int {
	if dir := s.dir.Load(); dir != nil {
		return len(*dir)
	}
	return 0
}

func (s *slabs) grow() {
	var dir []slab
	if old := s.dir.Load(); old != nil {
		dir = *old
	}
	// Readers see no further than the length, so append may write behind that.
	dir = append(dir, slab{new([slabCells]cell), new(unsavedBits)})
	s.dir.Store(&dir)
}

func (s *slabs) publish(slot uint32) { s.top.Store(slot) }

func (s *slabs) giveBack(slot uint32, c *cell) {
	c.expiryLink = link{next: s.free}
	s.free = slot
}
