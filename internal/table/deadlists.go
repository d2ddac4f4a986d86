package table

import "github.com/seed-55daa01a/lapse/storage"

// deadLists are the first records of what is put aside of a subject, so that a walk through
// what lives meets none of the dead twice. The first one of a list keeps the leader where
// others keep the record before them, marked by chained.
type deadLists struct {
	expired uint32 // without an end, and had expired by some instant: the latest ExpiresAt first
	ended   uint32 // with an end
}

func (a *deadLists) head(list uint64) *uint32 {
	if list == inExpired {
		return &a.expired
	}
	return &a.ended
}

// setList sets which list the cell says that it is in.
func (c *cell) setList(list uint64) {
	c.lock()
	c.store(wMeta, c.load(wMeta)&^inDead|list)
	c.unlock(false)
}

// setDeadLists sets the lists of a leader.
func (x *subjectIndex) setDeadLists(leader uint32, a deadLists) {
	switch {
	case a != deadLists{}:
		if x.dead == nil {
			x.dead = make(map[uint32]deadLists)
		}
		x.dead[leader] = a
	case x.dead != nil:
		if delete(x.dead, leader); len(x.dead) == 0 {
			x.dead = nil // it would stay as large as it ever was
		}
	}
}

// linkDead files slot, which is in no list and flagged, in one of the leader's: behind
// the record before, or first if that is 0.
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

// unlinkDead takes slot out of the list that its flag names, and leaves the flag.
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

// restore moves slot, which is aside, to the main list.
func (x *subjectIndex) restore(slot uint32, texts *texts) {
	c := x.slabs.cell(slot)
	x.unlinkDead(slot)
	c.setList(0)
	text := c.load(wText)
	x.insertAfter(slot, x.leader(x.hashOf(slot), texts.subject(text, c.load(wMeta), texts.chunk(text)), texts))
	x.restored++
}

// promote takes a record out of the lists of a leader that is about to go and has no record
// behind it, and returns it, or 0 if there is none.
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

// moveDeadLists gives the lists of a leader to its heir.
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

// restore moves the record of id to the main list of its subject if it is in the list of
// what had run out.
func (t *Table) restore(id storage.ID) {
	k := t.key(&id)
	if _, c := t.find(k); c == nil || c.load(wMeta)&inExpired == 0 { // as most are
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if slot, c := t.find(k); c != nil && c.load(wMeta)&inExpired != 0 {
		t.subjects.restore(slot, &t.texts)
	}
}
