package table

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Living appends to ids, in order, the IDs of the subject's records that have no end and expire
// after now. It also appends the IDs of other records for which keep reports true. Living asks keep
// about dead records only. keep may be nil; it is called with the table locked and must not call
// the table.
//
// Living moves the records that it finds dead to a dead list, unless keep reports true. So it costs
// the number of living records, and each newly dead record once. A record that lives again, by an
// earlier now, a Touch or a Put, is found all the same. To file a record that expired before others
// in the dead list costs as much as there are of those.
func (t *Table) Living(ids []storage.ID, subject string, now time.Time, keep func(storage.ID) bool) []storage.ID {
	from := len(ids)
	c := t.newLivingWalk(subject, now, keep)
	c.all(func() { c.ids, c.expired = ids[:from], c.expired[:0] }, c.collect)
	sortByExpiry(c.expired)
	for len(c.expired) > 0 {
		c.moveExpired(stepSize)
	}
	return c.ids[:from+len(inOrderOfIssue(c.ids[from:]))]
}

// livingWalk is a walk through the living records of a subject.
type livingWalk struct {
	subjectWalk
	now  int64
	keep func(storage.ID) bool

	ids     []storage.ID  // of the living records; set by collect
	living  int           // how many records live; set by count
	limit   int           // count stops beyond this number
	expired []expiredCell // expired records in the main list, to be moved to the dead list
	after   uint32        // record of the dead list behind which the next of expired goes, 0 for its beginning
}

// expiredCell is an expired record and its ExpiresAt in Unix milliseconds.
type expiredCell struct {
	ref uint32
	at  int64
}

// sortByExpiry sorts expired records in the order of their dead list, the latest first.
func sortByExpiry(all []expiredCell) {
	slices.SortFunc(all, func(a, b expiredCell) int { return cmp.Compare(b.at, a.at) })
}

func (t *Table) newLivingWalk(subject string, now time.Time, keep func(storage.ID) bool) *livingWalk {
	return &livingWalk{subjectWalk: subjectWalk{table: t, hash: t.subjectHash(subject), subject: subject}, now: milli(now), keep: keep}
}

// collect visits a record and notes its ID if the record lives.
func (s *livingWalk) collect(list uint64, ref uint32, c *cell) outcome {
	lives, v := s.classify(list, ref, c)
	if lives {
		s.ids = append(s.ids, c.id())
	}
	return v
}

// count visits a record and counts it if it lives.
func (s *livingWalk) count(list uint64, ref uint32, c *cell) outcome {
	lives, v := s.classify(list, ref, c)
	if lives {
		if s.living++; s.living > s.limit {
			return stop
		}
	}
	return v
}

// classify reports whether the record lives or keep wants it. It moves an ended record to its dead
// list, and notes an expired one for moveExpired. The leader stays in the main list, because each
// subject needs one.
func (s *livingWalk) classify(list uint64, ref uint32, c *cell) (lives bool, v outcome) {
	expires, ended := int64(c.load(wExpires)), int64(c.load(wEnded)) != zeroMilli // read once: a Touch may raise expires meanwhile
	switch {
	case list == inEnded:
		return false, stop // Living may leave out an alias, which is in this list without an end
	case !ended && expires > s.now:
		return true, stays
	case list != 0:
		return false, stop // the records behind it expired earlier, or have an end
	case s.keep != nil && s.keep(c.id()):
		return true, stays
	case ref == s.leader:
	case ended:
		c.setList(inEnded)
		x := &s.table.subjects
		x.unlinkMember(ref)
		x.linkDead(ref, s.leader, 0, inEnded)
		return false, leaves
	default:
		s.expired = append(s.expired, expiredCell{ref, expires})
	}
	return false, stays
}

// moveExpired takes at most budget steps to move the expired records to their dead list. s.expired
// is sorted.
func (s *livingWalk) moveExpired(budget int) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	x := &s.table.subjects
	s.leader = x.leader(s.hash, s.subject, &s.table.texts)
	if s.after != 0 && !s.inList(s.after, inExpired) { // the record has left the dead list meanwhile
		s.after = 0
	}
	s.moveExpiredLocked(budget)
}

// moveExpiredLocked is moveExpired for a caller that has locked the table and set the leader.
func (s *livingWalk) moveExpiredLocked(budget int) {
	x := &s.table.subjects
	for ; len(s.expired) > 0 && budget > 0; budget-- {
		next := x.dead[s.leader].expired
		if s.after != 0 {
			next = x.slabs.cell(s.after).subjectLink.next
		}
		e := s.expired[0]
		if next != 0 && int64(x.slabs.cell(next).load(wExpires)) > e.at {
			s.after = next
			continue
		}
		s.expired = s.expired[1:]
		if e.ref == s.leader || !s.inList(e.ref, 0) || !x.slabs.cell(e.ref).flagExpired(e.at) {
			continue
		}
		x.unlinkMember(e.ref)
		x.linkDead(e.ref, s.leader, s.after, inExpired)
		s.after = e.ref
	}
}

// inList reports whether the record is in that list of the subject.
func (s *livingWalk) inList(ref uint32, list uint64) bool {
	x := &s.table.subjects
	return x.slabs.cell(ref).load(wMeta)&(occupied|inDead) == occupied|list && x.matches(ref, s.hash, s.subject, &s.table.texts)
}

// flagExpired flags the cell as one in the expired list and returns true. It returns false if the
// record has an end, or another ExpiresAt than at. A Touch that raises the record later finds the
// flag.
func (c *cell) flagExpired(at int64) bool {
	c.lock()
	still := int64(c.load(wExpires)) == at && int64(c.load(wEnded)) == zeroMilli
	if still {
		c.store(wMeta, c.load(wMeta)|inExpired)
	}
	c.unlock(false)
	return still
}
