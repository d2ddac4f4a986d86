package table

import "github.com/seed-55daa01a/lapse/storage"

// deadLists are the first records of the two dead lists of a subject. A walk through the live
// records of the subject meets no record in them, except those at the beginning of the expired
// list. The prev link of the first record of a list holds the leader, with the bit chained set.
//
// Not every dead record is in a dead list: the leader stays in the main list, and a record stays
// there until a walk finds it dead.
type deadLists struct {
	expired uint32 // records without an end that had expired by some instant, the latest ExpiresAt first
	ended   uint32 // records with an end
}

// head returns the first record of the list that has the flag list.
func (a *deadLists) head(list uint64) *uint32 {
	if list == inExpired {
		return &a.expired
	}
	return &a.ended
}

// setList notes in the cell which list the record is in: inExpired, inEnded, or 0 for the main
// list.
func (c *cell) setList(list uint64) {
	c.lock()
	c.store(wMeta, c.load(wMeta)&^inDead|list)
	c.unlock(false)
}

// setDeadLists sets the dead lists of a leader.
func (x *subjectIndex) setDeadLists(leader uint32, a deadLists) {
	switch {
	case a != deadLists{}:
		if x.dead == nil {
			x.dead = make(map[uint32]deadLists)
		}
		x.dead[leader] = a
	case x.dead != nil:
		if delete(x.dead, leader); len(x.dead) == 0 {
			x.dead = nil // a map that was emptied keeps its memory
		}
	}
}

// linkDead puts slot into a dead list of the leader: right behind the record before, or first if
// before is 0. slot is in no list, and the flag of its cell says list already.
func (x *subjectIndex) linkDead(slot, leader, before uint32, list uint64) {
	if before != 0 {
		x.insertAfter(slot, before)
		return
	}
	a := x.dead[leader]
	head := a.head(list)
	x.slabs.cell(slot).subjectLink = link{prev: chained | leader, next: *head}
	if *head != 0 {
		x.slabs.cell(*head).subjectLink.prev = slot
	}
	*head = slot
	x.setDeadLists(leader, a)
}

// unlinkDead takes slot out of the dead list that its flag names. The flag stays.
func (x *subjectIndex) unlinkDead(slot uint32) {
	c := x.slabs.cell(slot)
	l := c.subjectLink
	if l.prev&chained == 0 {
		x.unlinkMember(slot)
		return
	}
	if l.next != 0 {
		x.slabs.cell(l.next).subjectLink.prev = l.prev
	}
	leader := l.prev &^ chained
	a := x.dead[leader]
	*a.head(c.load(wMeta) & inDead) = l.next
	x.setDeadLists(leader, a)
}

// restore moves slot from its dead list to the main list.
func (x *subjectIndex) restore(slot uint32, texts *texts) {
	c := x.slabs.cell(slot)
	x.unlinkDead(slot)
	c.setList(0)
	text := c.load(wText)
	x.insertAfter(slot, x.leader(x.hashOf(slot), texts.subject(text, c.load(wMeta), texts.chunk(text)), texts))
	x.restored++
}

// promote takes one record out of the dead lists of a leader and returns it, or 0 if there is none.
// The leader is about to be removed and is alone in the main list, so that the record becomes the
// leader.
func (x *subjectIndex) promote(leader uint32) uint32 {
	a := x.dead[leader]
	slot := a.expired
	if slot == 0 {
		slot = a.ended
	}
	if slot != 0 {
		x.unlinkDead(slot)
		c := x.slabs.cell(slot)
		c.setList(0)
		c.subjectLink.next = 0
		x.restored++
	}
	return slot
}

// moveDeadLists gives the dead lists of a leader to the next leader of the subject.
func (x *subjectIndex) moveDeadLists(leader, heir uint32) {
	a, ok := x.dead[leader]
	if !ok {
		return
	}
	delete(x.dead, leader)
	x.dead[heir] = a
	for _, head := range [2]uint32{a.expired, a.ended} {
		if head != 0 {
			x.slabs.cell(head).subjectLink.prev = chained | heir
		}
	}
}

// restore moves the record of id to the main list of its subject if it is in the list of expired
// records.
func (t *Table) restore(id storage.ID) {
	k := t.key(&id)
	if _, c := t.find(k); c == nil || c.load(wMeta)&inExpired == 0 { // the usual case, and no lock
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if slot, c := t.find(k); c != nil && c.load(wMeta)&inExpired != 0 {
		t.subjects.restore(slot, &t.texts)
	}
}
