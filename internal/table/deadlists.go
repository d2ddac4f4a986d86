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
	ended   uint32 // records with an end, and aliases
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

// linkDead puts ref into a dead list of the leader: right behind the record before, or first if
// before is 0. ref is in no list, and the flag of its cell says list already.
func (x *subjectIndex) linkDead(ref, leader, before uint32, list uint64) {
	if before != 0 {
		x.insertAfter(ref, before)
		return
	}
	a := x.dead[leader]
	head := a.head(list)
	x.slabs.cell(ref).subjectLink = link{prev: chained | leader, next: *head}
	if *head != 0 {
		x.slabs.cell(*head).subjectLink.prev = ref
	}
	*head = ref
	x.setDeadLists(leader, a)
}

// unlinkDead takes ref out of the dead list that its flag names. The flag stays.
func (x *subjectIndex) unlinkDead(ref uint32) {
	c := x.slabs.cell(ref)
	l := c.subjectLink
	if l.prev&chained == 0 {
		x.unlinkMember(ref)
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

// restore moves ref from its dead list to the main list.
func (x *subjectIndex) restore(ref uint32, texts *texts) {
	c := x.slabs.cell(ref)
	x.unlinkDead(ref)
	c.setList(0)
	text := c.load(wText)
	x.insertAfter(ref, x.leader(x.hashOf(ref), texts.subject(text, c.load(wMeta), texts.chunk(text)), texts))
	x.restored++
}

// promote takes one record out of the dead lists of a leader and returns it, or 0 if there is none.
// The leader is about to be removed and is alone in the main list, so that the record becomes the
// leader.
func (x *subjectIndex) promote(leader uint32) uint32 {
	a := x.dead[leader]
	ref := a.expired
	if ref == 0 {
		ref = a.ended
	}
	if ref != 0 {
		x.unlinkDead(ref)
		c := x.slabs.cell(ref)
		c.setList(0)
		c.subjectLink.next = 0
		x.restored++
	}
	return ref
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
	if ref, c := t.find(k); c != nil && c.load(wMeta)&inExpired != 0 {
		t.subjects.restore(ref, &t.texts)
	}
}
