package table

import "github.com/seed-55daa01a/lapse/storage"

// asides are the first records of what is put aside of a subject, so that a walk through
// what lives meets none of the dead twice. The first one of a list keeps the leader where
// others keep the record before them, marked by chained.
type asides struct {
	ranOut uint32 // without an end, and had expired by some instant: the latest ExpiresAt first
	ended  uint32 // with an end
}

func (a *asides) head(list uint64) *uint32 {
	if list == inRanOut {
		return &a.ranOut
	}
	return &a.ended
}

// flag sets which list the cell says that it is in.
func (c *cell) flag(list uint64) {
	c.lock()
	c.store(wMeta, c.load(wMeta)&^aside|list)
	c.unlock(false)
}

// setAside sets the lists of a leader.
func (x *subjects) setAside(leader uint32, a asides) {
	switch {
	case a != asides{}:
		if x.aside == nil {
			x.aside = make(map[uint32]asides)
		}
		x.aside[leader] = a
	case x.aside != nil:
		if delete(x.aside, leader); len(x.aside) == 0 {
			x.aside = nil // it would stay as large as it ever was
		}
	}
}

// linkAside files slot, which is in no list and flagged, in one of the leader's: behind
// the record before, or first if that is 0.
func (x *subjects) linkAside(slot, leader, before uint32, list uint64) {
	if before != 0 {
		x.follow(slot, before)
		return
	}
	a := x.aside[leader]
	head := a.head(list)
	x.slabs.cell(slot).subject = link{prev: chained | leader, next: *head}
	if *head != 0 {
		x.slabs.cell(*head).subject.prev = slot
	}
	*head = slot
	x.setAside(leader, a)
}

// unlinkAside takes slot out of the list that its flag names, and leaves the flag.
func (x *subjects) unlinkAside(slot uint32) {
	c := x.slabs.cell(slot)
	l := c.subject
	if l.prev&chained == 0 {
		x.leave(slot)
		return
	}
	if l.next != 0 {
		x.slabs.cell(l.next).subject.prev = l.prev
	}
	leader := l.prev &^ chained
	a := x.aside[leader]
	*a.head(c.load(wMeta) & aside) = l.next
	x.setAside(leader, a)
}

// bringBack moves slot, which is aside, to the main list.
func (x *subjects) bringBack(slot uint32, texts *texts) {
	c := x.slabs.cell(slot)
	x.unlinkAside(slot)
	c.flag(0)
	text := c.load(wText)
	x.follow(slot, x.leader(x.hashOf(slot), texts.subject(text, c.load(wMeta), texts.chunk(text)), texts))
	x.returns++
}

// promote takes a record out of the lists of a leader that is about to go and has no record
// behind it, and returns it, or 0 if there is none.
func (x *subjects) promote(leader uint32) uint32 {
	a := x.aside[leader]
	slot := a.ranOut
	if slot == 0 {
		slot = a.ended
	}
	if slot != 0 {
		x.unlinkAside(slot)
		c := x.slabs.cell(slot)
		c.flag(0)
		c.subject.next = 0
		x.returns++
	}
	return slot
}

// inherit gives the lists of a leader to its heir.
func (x *subjects) inherit(leader, heir uint32) {
	a, ok := x.aside[leader]
	if !ok {
		return
	}
	delete(x.aside, leader)
	x.aside[heir] = a
	for _, head := range [2]uint32{a.ranOut, a.ended} {
		if head != 0 {
			x.slabs.cell(head).subject.prev = chained | heir
		}
	}
}

// bringBack moves the record of id to the main list of its subject if it is in the list of
// what had run out.
func (t *Table) bringBack(id storage.ID) {
	k := t.key(&id)
	if _, c := t.find(k); c == nil || c.load(wMeta)&inRanOut == 0 { // as most are
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if slot, c := t.find(k); c != nil && c.load(wMeta)&inRanOut != 0 {
		t.subjects.bringBack(slot, &t.texts)
	}
}
