package table

import "sync/atomic"

const (
	slabBits  = 8
	slabCells = 1 << slabBits
)

// slabs are the arrays of cells. The number of a cell is its ref, from 1 on; 0 means no cell. The
// directory of slabs is copied when it grows, so that no reader waits.
type slabs struct {
	dir  atomic.Pointer[[]slab]
	_    cachePad
	top  atomic.Uint32 // the highest cell that readers may see
	free uint32        // the first of the free cells, which their expiry links chain
}

// cachePad keeps fields that readers load all the time out of the cache line of fields that writers
// change all the time.
type cachePad [64]byte

type slab struct {
	cells   *[slabCells]cell
	unsaved *unsavedBits
}

func (s *slabs) cell(ref uint32) *cell {
	dir := *s.dir.Load()
	return &dir[ref>>slabBits].cells[ref%slabCells]
}

// take returns a free cell. If fresh is true, no reader can see the cell before publish, and the
// caller must hold the table's lock until then.
func (s *slabs) take() (ref uint32, c *cell, fresh bool) {
	if ref = s.free; ref != 0 {
		c = s.cell(ref)
		s.free = c.expiryLink.next
		return ref, c, false
	}
	if ref = s.top.Load() + 1; int(ref>>slabBits) == s.count() {
		s.grow()
	}
	return ref, s.cell(ref), true
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
	// Readers see the old length only, so that append may write behind it in the same array.
	dir = append(dir, slab{new([slabCells]cell), new(unsavedBits)})
	s.dir.Store(&dir)
}

// publish makes a fresh cell visible to readers.
func (s *slabs) publish(ref uint32) { s.top.Store(ref) }

// giveBack frees a cell.
func (s *slabs) giveBack(ref uint32, c *cell) {
	c.expiryLink = link{next: s.free}
	s.free = ref
}
