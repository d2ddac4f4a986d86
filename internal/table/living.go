package table

import (
	"cmp"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Living appends to ids those of the subject's records that have no end and expire after
// now, in order, and others for which keep reports true. keep is asked only of the dead;
// it may be nil, is called with the table locked, and must not call the table.
//
// What it finds dead it puts aside, unless keep reports true, so that it costs what lives
// and each of the newly dead once. A record that comes back to life by an earlier now, by
// a Touch or by a Put is found all the same. What expired before others that were put
// aside costs as much as there are of those.
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

// livingWalk is a walk to what lives of a subject.
type livingWalk struct {
	subjectWalk
	now  int64
	keep func(storage.ID) bool

	ids     []storage.ID  // of what lives, by list
	living  int           // how many live, by count
	limit   int           // and how many are enough
	expired []expiredCell // found in the main list
	after   uint32        // which of what has run out comes before what is yet to be put aside
}

type expiredCell struct {
	slot uint32
	at   int64
}

// sortByExpiry sorts what has run out as its list is sorted.
func sortByExpiry(all []expiredCell) {
	slices.SortFunc(all, func(a, b expiredCell) int { return cmp.Compare(b.at, a.at) })
}

func (t *Table) newLivingWalk(subject string, now time.Time, keep func(storage.ID) bool) *livingWalk {
	return &livingWalk{subjectWalk: subjectWalk{table: t, hash: t.subjectHash(subject), subject: subject}, now: milli(now), keep: keep}
}

// collect looks at a record and notes its ID if it lives.
func (s *livingWalk) collect(list uint64, slot uint32, c *cell) outcome {
	lives, v := s.classify(list, slot, c)
	if lives {
		s.ids = append(s.ids, c.id())
	}
	return v
}

// count looks at a record and counts it if it lives.
func (s *livingWalk) count(list uint64, slot uint32, c *cell) outcome {
	lives, v := s.classify(list, slot, c)
	if lives {
		if s.living++; s.living > s.limit {
			return stop
		}
	}
	return v
}

// classify reports whether a record lives, or is to be kept, and puts it aside if it has an
// end. A leader stays, for one record must lead.
func (s *livingWalk) classify(list uint64, slot uint32, c *cell) (lives bool, v outcome) {
	expires, ended := int64(c.load(wExpires)), int64(c.load(wEnded)) != zeroMilli // a Touch may raise it meanwhile
	switch {
	case !ended && expires > s.now:
		return true, stays
	case list != 0:
		return false, stop // what comes behind expired earlier still, or has an end
	case s.keep != nil && s.keep(c.id()):
		return true, stays
	case slot == s.leader:
	case ended:
		c.setList(inEnded)
		x := &s.table.subjects
		x.unlinkMember(slot)
		x.linkDead(slot, s.leader, 0, inEnded)
		return false, leaves
	default:
		s.expired = append(s.expired, expiredCell{slot, expires})
	}
	return false, stays
}

// moveExpired takes at most budget steps to put aside what has expired, which is sorted.
func (s *livingWalk) moveExpired(budget int) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	x := &s.table.subjects
	s.leader = x.leader(s.hash, s.subject, &s.table.texts)
	if s.after != 0 && !s.inList(s.after, inExpired) { // it has gone meanwhile
		s.after = 0
	}
	s.moveExpiredLocked(budget)
}

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
		if e.slot == s.leader || !s.inList(e.slot, 0) || !x.slabs.cell(e.slot).flagExpired(e.at) {
			continue
		}
		x.unlinkMember(e.slot)
		x.linkDead(e.slot, s.leader, s.after, inExpired)
		s.after = e.slot
	}
}

// inList reports whether the subject has the record in that list.
func (s *livingWalk) inList(slot uint32, list uint64) bool {
	x := &s.table.subjects
	return x.slabs.cell(slot).load(wMeta)&(occupied|inDead) == occupied|list && x.matches(slot, s.hash, s.subject, &s.table.texts)
}

// flagExpired flags the cell as one that has run out, unless it has an end or another
// ExpiresAt by now. A Touch that raises it after that finds the flag.
func (c *cell) flagExpired(at int64) bool {
	c.lock()
	still := int64(c.load(wExpires)) == at && int64(c.load(wEnded)) == zeroMilli
	if still {
		c.store(wMeta, c.load(wMeta)|inExpired)
	}
	c.unlock(false)
	return still
}
