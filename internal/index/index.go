// Package index finds the records of a subject, and those that may be dead by an
// instant, without a scan. It holds IDs only and trusts nobody's memory of a
// record: whoever asks reads the record and judges by that.
package index

import (
	"container/heap"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Index is not safe for concurrent use; its owner locks. The zero Index is empty.
type Index struct {
	bySubject map[string][]storage.ID // each in ID order
	byDeath   deaths
	taken     []Due // by the last Take, until Settle
}

// Due says that the record of ID cannot be dead before an instant. Renewals move
// the death away without being told here; an end files an earlier entry. So
// entries are lower bounds, and one whose record is gone means nothing.
type Due struct {
	at int64 // Unix milliseconds
	ID storage.ID
}

func dueOf(r storage.Record) Due { return Due{r.DeadFrom().UnixMilli(), r.ID} }

// Put files r. old is the record that r replaces, nil where r is new.
func (x *Index) Put(old *storage.Record, r storage.Record) {
	if old == nil {
		x.addSubject(r.Subject, r.ID)
	} else if !r.DeadFrom().Before(old.DeadFrom()) {
		return
	}
	x.Refile(r)
}

func (x *Index) addSubject(subject string, id storage.ID) {
	if x.bySubject == nil {
		x.bySubject = make(map[string][]storage.ID)
	}
	ids := x.bySubject[subject]
	if n := len(ids); n == 0 || ids[n-1].Compare(id) < 0 {
		x.bySubject[subject] = append(ids, id)
		return
	}
	if at, found := slices.BinarySearchFunc(ids, id, storage.ID.Compare); !found {
		x.bySubject[subject] = slices.Insert(ids, at, id)
	}
}

// Refile files the death of r anew, after Take has taken it out.
func (x *Index) Refile(r storage.Record) { x.GiveBack(dueOf(r)) }

// GiveBack files what Take has taken out as it was.
func (x *Index) GiveBack(due ...Due) {
	for _, d := range due {
		// This is heap.Push without the allocation that boxing its argument costs.
		x.byDeath = append(x.byDeath, d)
		heap.Fix(&x.byDeath, len(x.byDeath)-1)
	}
}

// Load files the first records of an empty index, in any order, at less cost
// than Put. Ready must be called after the last one.
func (x *Index) Load(r storage.Record) {
	x.addSubject(r.Subject, r.ID)
	x.byDeath = append(x.byDeath, dueOf(r))
}

// Ready ends a series of Load.
func (x *Index) Ready() { heap.Init(&x.byDeath) }

// Remove forgets which subjects the records belong to. Their deaths are out by
// then, or come to nothing.
func (x *Index) Remove(records []storage.Record) {
	gone := make(map[string]map[storage.ID]struct{})
	for _, r := range records {
		if gone[r.Subject] == nil {
			gone[r.Subject] = make(map[storage.ID]struct{})
		}
		gone[r.Subject][r.ID] = struct{}{}
	}
	for subject, ids := range gone {
		left := slices.DeleteFunc(x.bySubject[subject], func(id storage.ID) bool {
			_, ok := ids[id]
			return ok
		})
		if len(left) == 0 {
			delete(x.bySubject, subject)
		} else {
			x.bySubject[subject] = left
		}
	}
}

// Subject returns the IDs of subject in order. The slice is the index's own: it
// must not be changed, nor used after the next change of the index.
func (x *Index) Subject(subject string) []storage.ID { return x.bySubject[subject] }

// Any reports whether Take would find anything.
func (x *Index) Any(before time.Time) bool {
	return len(x.byDeath) > 0 && x.byDeath[0].at < before.UnixMilli()
}

// Take takes out at most n entries of records that may have been dead before the
// instant, the earliest first. Fewer than n means that none is left.
func (x *Index) Take(before time.Time, n int) []Due {
	var due []Due
	for len(due) < n && x.Any(before) {
		due = append(due, heap.Pop(&x.byDeath).(Due))
	}
	x.taken = due
	return due
}

// Settle says that what the last Take has taken out was dealt with. Until then
// Before goes on finding it.
func (x *Index) Settle() { x.taken = nil }

// Before returns the IDs of all records that may be dead before the instant, in
// ID order and each once. Its cost grows with their number alone.
func (x *Index) Before(before time.Time) []storage.ID {
	ids := x.byDeath.before(nil, 0, before.UnixMilli())
	for _, d := range x.taken {
		if d.at < before.UnixMilli() {
			ids = append(ids, d.ID)
		}
	}
	slices.SortFunc(ids, storage.ID.Compare)
	return slices.Compact(ids)
}

// deaths is a heap with the earliest bound on top.
type deaths []Due

func (h deaths) Len() int           { return len(h) }
func (h deaths) Less(i, j int) bool { return h[i].at < h[j].at }
func (h deaths) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *deaths) Push(x any)        { *h = append(*h, x.(Due)) }
func (h *deaths) Pop() any {
	last := len(*h) - 1
	x := (*h)[last]
	*h = (*h)[:last]
	return x
}

// before walks the part of the heap from i that lies before at: no entry below
// one that does not can lie there.
func (h deaths) before(ids []storage.ID, i int, at int64) []storage.ID {
	if i >= len(h) || h[i].at >= at {
		return ids
	}
	ids = append(ids, h[i].ID)
	ids = h.before(ids, 2*i+1, at)
	return h.before(ids, 2*i+2, at)
}
