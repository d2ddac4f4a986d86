package table

import (
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// PutIfFits puts r, as Put does, and returns true, if three conditions surely hold: there is no
// record of its ID, none of that ID is damaged, and the subject has at most n records that live at
// now. The records that this transaction and the held writes create count among those n.
//
// It returns false and does nothing where a condition fails, where it would have to examine many
// records, or where Put would fail. It costs less than a Get and a count. Dead records add nothing
// to its cost, except that each newly dead record is examined once. It keeps no memory of r.
func (t *Tx) PutIfFits(r *storage.Record, n int, now time.Time) bool {
	s := t.stage
	n -= len(t.writes) + s.created[t.subject].n
	at, read := t.find(r.ID)
	if read || n < 0 || r.Subject != t.subject || s.held[r.ID] != nil || s.Damaged != nil && s.Damaged(r.ID) {
		return false
	}
	if !s.table.underLimit(&r.ID, t.subject, n, now, t.keep) {
		return false
	}
	t.create(at, r)
	return true
}

// underLimit reports whether there is no record of id and surely at most n records of the subject
// that live at now or for which keep reports true. Both look-ups may miss the cache, so it starts
// the one of the subject before it waits for that of the ID.
func (t *Table) underLimit(id *storage.ID, subject string, n int, now time.Time, keep func(storage.ID) bool) bool {
	k, hash := t.key(id), t.subjectHash(subject)
	t.mu.Lock()
	defer t.mu.Unlock()
	perhaps := t.subjects.mayHave(hash)
	if _, c := t.find(k); c != nil {
		return false
	}
	if !perhaps || n >= t.Len() {
		return true
	}
	leader := t.subjects.leader(hash, subject, &t.texts)
	return leader == 0 || t.subjects.fewListed(leader, n, milli(now), keep) || t.fewLiving(subject, n, now, keep)
}

// fewListed reports whether at most n records of the leader can live, judged by the length of the
// main list alone. It examines the leader, which stays in the main list after its death.
func (x *subjectIndex) fewListed(leader uint32, n int, now int64, keep func(storage.ID) bool) bool {
	if late := x.dead[leader].expired; late != 0 && int64(x.slabs.cell(late).load(wExpires)) > now {
		return false
	}
	c := x.slabs.cell(leader)
	if x.dead != nil && c.dead(now) && (keep == nil || !keep(c.id())) {
		n++
	}
	ref := leader
	for n = min(n, stepSize); ref != 0 && n > 0; n-- {
		ref = x.slabs.cell(ref).subjectLink.next
	}
	return ref == 0
}

// fewLiving counts the living records of the subject and reports whether there are at most n. It
// examines at most stepSize records, reports false if that is not enough, and moves the dead ones
// among them to a dead list. The caller has locked the table.
func (t *Table) fewLiving(subject string, n int, now time.Time, keep func(storage.ID) bool) bool {
	c := t.newLivingWalk(subject, now, keep)
	c.limit = n
	over, _ := c.stepLocked(stepSize, c.count)
	sortByExpiry(c.expired)
	c.moveExpiredLocked(2 * stepSize)
	return over && c.living <= n
}
