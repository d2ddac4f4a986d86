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
	c := t.census(subject, now, keep)
	c.all(func() { c.ids, c.expired = ids[:from], c.expired[:0] }, c.list)
	byExpiry(c.expired)
	for len(c.expired) > 0 {
		c.putAside(stepSize)
	}
	return c.ids[:from+len(inOrderOfIssue(c.ids[from:]))]
}

// census is a walk to what lives of a subject.
type census struct {
	walk
	now  int64
	keep func(storage.ID) bool

	ids     []storage.ID // of what lives, by list
	n       int          // how many live, by count
	most    int          // and how many are enough
	expired []expiry     // found in the main list
	behind  uint32       // which of what has run out comes before what is yet to be put aside
}

type expiry struct {
	slot uint32
	at   int64
}

// byExpiry sorts what has run out as its list is sorted.
func byExpiry(all []expiry) {
	slices.SortFunc(all, func(a, b expiry) int { return cmp.Compare(b.at, a.at) })
}

func (t *Table) census(subject string, now time.Time, keep func(storage.ID) bool) *census {
	return &census{walk: walk{table: t, hash: t.subjectHash(subject), subject: subject}, now: milli(now), keep: keep}
}

// list looks at a record and notes its ID if it lives.
func (s *census) list(list uint64, slot uint32, c *cell) fate {
	lives, v := s.look(list, slot, c)
	if lives {
		s.ids = append(s.ids, c.id())
	}
	return v
}

// count looks at a record and counts it if it lives.
func (s *census) count(list uint64, slot uint32, c *cell) fate {
	lives, v := s.look(list, slot, c)
	if lives {
		if s.n++; s.n > s.most {
			return last
		}
	}
	return v
}

// look reports whether a record lives, or is to be kept, and puts it aside if it has an
// end. A leader stays, for one record must lead.
func (s *census) look(list uint64, slot uint32, c *cell) (lives bool, v fate) {
	expires, ended := int64(c.load(wExpires)), int64(c.load(wEnded)) != zeroMilli // a Touch may raise it meanwhile
	switch {
	case !ended && expires > s.now:
		return true, stays
	case list != 0:
		return false, last // what comes behind expired earlier still, or has an end
	case s.keep != nil && s.keep(c.id()):
		return true, stays
	case slot == s.leader:
	case ended:
		c.flag(inEnded)
		x := &s.table.subjects
		x.leave(slot)
		x.linkAside(slot, s.leader, 0, inEnded)
		return false, leaves
	default:
		s.expired = append(s.expired, expiry{slot, expires})
	}
	return false, stays
}

// putAside takes at most budget steps to put aside what has expired, which is sorted.
func (s *census) putAside(budget int) {
	s.table.mu.Lock()
	defer s.table.mu.Unlock()
	x := &s.table.subjects
	s.leader = x.leader(s.hash, s.subject, &s.table.texts)
	if s.behind != 0 && !s.holds(s.behind, inRanOut) { // it has gone meanwhile
		s.behind = 0
	}
	s.putAsideLocked(budget)
}

func (s *census) putAsideLocked(budget int) {
	x := &s.table.subjects
	for ; len(s.expired) > 0 && budget > 0; budget-- {
		next := x.aside[s.leader].ranOut
		if s.behind != 0 {
			next = x.slabs.cell(s.behind).subject.next
		}
		e := s.expired[0]
		if next != 0 && int64(x.slabs.cell(next).load(wExpires)) > e.at {
			s.behind = next
			continue
		}
		s.expired = s.expired[1:]
		if e.slot == s.leader || !s.holds(e.slot, 0) || !x.slabs.cell(e.slot).runOut(e.at) {
			continue
		}
		x.leave(e.slot)
		x.linkAside(e.slot, s.leader, s.behind, inRanOut)
		s.behind = e.slot
	}
}

// holds reports whether the subject has the record in that list.
func (s *census) holds(slot uint32, list uint64) bool {
	x := &s.table.subjects
	return x.slabs.cell(slot).load(wMeta)&(live|aside) == live|list && x.is(slot, s.hash, s.subject, &s.table.texts)
}

// runOut flags the cell as one that has run out, unless it has an end or another
// ExpiresAt by now. A Touch that raises it after that finds the flag.
func (c *cell) runOut(at int64) bool {
	c.lock()
	still := int64(c.load(wExpires)) == at && int64(c.load(wEnded)) == zeroMilli
	if still {
		c.store(wMeta, c.load(wMeta)|inRanOut)
	}
	c.unlock(false)
	return still
}
