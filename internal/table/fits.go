package table

import (
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// PutIfFits is Put of r if there surely is no record of its ID, nor a damaged one, and no
// more than n records of the subject that live at now, those that it is about to know more
// of included. It costs less than to Get the one and to count the others, and does not
// cost more for what is dead, each newly dead record once excepted. It reports false, and
// does nothing, where it would have to look at many, or where Put would fail. Nothing is
// kept of r.
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

// underLimit reports whether there is no record of id and surely no more than n of the subject
// that live at now, or that keep reports true of. Either may have to be looked for far away
// in memory: so it looks where the subject's would be before it waits for what there is of
// id.
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

// fewListed reports whether no more than n records of the leader can live, by their number. A
// leader is looked at, for it stays in the main list although it is dead.
func (x *subjectIndex) fewListed(leader uint32, n int, now int64, keep func(storage.ID) bool) bool {
	if late := x.dead[leader].expired; late != 0 && int64(x.slabs.cell(late).load(wExpires)) > now {
		return false
	}
	c := x.slabs.cell(leader)
	if x.dead != nil && c.dead(now) && (keep == nil || !keep(c.id())) {
		n++
	}
	slot := leader
	for n = min(n, stepSize); slot != 0 && n > 0; n-- {
		slot = x.slabs.cell(slot).subjectLink.next
	}
	return slot == 0
}

// fewLiving counts what lives, looks at no more than stepSize records, and puts aside what
// it finds dead. Its caller has locked the table.
func (t *Table) fewLiving(subject string, n int, now time.Time, keep func(storage.ID) bool) bool {
	c := t.newLivingWalk(subject, now, keep)
	c.limit = n
	over, _ := c.stepLocked(stepSize, c.count)
	sortByExpiry(c.expired)
	c.moveExpiredLocked(2 * stepSize)
	return over && c.living <= n
}
