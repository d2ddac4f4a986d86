// Package table keeps token records in this process so that a look-up waits for
// no other call: Get and Touch take no lock that a writer of another record holds, and
// allocate nothing. Millions of records cost the collector nothing, for they lie
// in slabs without pointers.
//
// It promises one record at a time: what Get returns was stored at one instant,
// never half of a Put or of a Touch, and a Touch that returned true is never lost
// to a Put or a TakeDead. What must hold across records is its callers' to keep.
//
// Instants are kept to the millisecond, rounded down, from year 1 to 9999, and come
// back in UTC; TTLs are kept in whole milliseconds. What is kept of texts stays in
// proportion to the living ones; the 128 bytes of a deleted record besides are used
// again, and never given back.
package table

import (
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// Table is a table of records by ID, found by subject and by death as well. It is
// safe for concurrent use; New makes one. Get, MarkUnsaved, Len, Unsaved and TakeUnsaved
// never take its lock, and Touch does only where it brings a record back that Living has
// put aside.
type Table struct {
	seed        maphash.Seed // random, so that IDs and subjects cannot be chosen to collide
	ids         ids
	slabs       slabs
	_           cachePad
	texts       texts
	count       atomic.Int64
	unsaved     atomic.Int64 // how many records are unsaved
	unsavedScan atomic.Uint32

	mu         sync.Mutex // guards the links of the cells, what follows, and all that only writers use
	subjects   subjectIndex
	expiries   expiryIndex
	compaction compaction
}

// New returns an empty table.
func New() *Table {
	t := &Table{seed: maphash.MakeSeed()}
	t.subjects.slabs, t.expiries.slabs = &t.slabs, &t.slabs
	return t
}

// Get sets *r to the record of id and returns true, or returns false and leaves
// *r alone if there is none. The strings of *r never change; while one of them is
// held, so are the 64 KiB of texts around it.
func (t *Table) Get(id storage.ID, r *storage.Record) bool {
	k := t.key(&id)
	for {
		_, c := t.find(k)
		if c == nil {
			return false
		}
		if found, settled := t.read(c, k, r); settled {
			if found {
				r.ID = id
			}
			return found
		}
	}
}

// Touch is Use.Raise on the record of id: it reports whether anything rose, and
// marks the record unsaved if so. An absent or ended record stays as it is. Every Living
// that begins after Touch has returned finds what it has brought back to life.
func (t *Table) Touch(id storage.ID, use storage.Use) bool {
	at, expires := milli(use.At), milli(use.ExpiresAt)
	k := t.key(&id)
	slot, c := t.lockRecord(k)
	if c == nil {
		return false
	}
	rose, back := false, false
	if int64(c.load(wEnded)) == zeroMilli {
		if at > int64(c.load(wUsed)) {
			c.store(wUsed, uint64(at))
			rose = true
		}
		stored := int64(c.load(wExpires))
		if expires > stored {
			expires = capped(expires, c.load(wCap))
		}
		if expires > stored {
			c.store(wExpires, uint64(expires))
			rose, back = true, c.load(wMeta)&inExpired != 0
		}
	}
	if rose {
		t.setUnsaved(slot)
	}
	c.unlock(rose)
	if back {
		t.restore(id)
	}
	return rose
}

// Put creates the record r.ID or replaces it. seen is what the writer of r saw of
// the record that it replaces, LastUsedAt and ExpiresAt, and means nothing if there
// is none: whichever of the two has been raised since is kept, as the later of the
// stored one and r's, and marks the record unsaved. No ExpiresAt is kept that is past r's
// MaxExpiresAt. An ended r is stored as it is: an end comes after every Touch. Nothing is
// kept of r.
func (t *Table) Put(r *storage.Record, seen storage.Use) {
	p := t.locate(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(p, r, seen)
}

// location is where the table looks for a record.
type location struct {
	id      key
	subject uint64 // the hash
}

func (t *Table) locate(r *storage.Record) location {
	return location{t.key(&r.ID), t.subjectHash(r.Subject)}
}

func (t *Table) put(p location, r *storage.Record, seen storage.Use) {
	if slot, c := t.find(p.id); c != nil {
		t.replace(slot, c, p.subject, r, seen)
	} else {
		t.insert(p.id, p.subject, r)
	}
	t.compact(compactWork + (len(r.Subject)+len(r.Name)+len(r.Scope)+len(r.Data))/compactBytes)
}

func (t *Table) insert(k key, hash uint64, r *storage.Record) {
	w := encode(r, hash)
	t.texts.add(&w, r)
	slot, c, fresh := t.slabs.take()
	if fresh {
		// No reader knows this cell before publish.
		w[wMeta] |= occupied
		c.w = w
		t.slabs.publish(slot)
	} else {
		c.lock()
		c.set(&w, occupied)
		c.unlock(true)
	}
	t.subjects.link(slot, hash, r.Subject, &t.texts)
	t.expiries.insert(slot, w.deadFrom())
	t.ids.insert(k, slot)
	t.count.Add(1)
}

func (t *Table) replace(slot uint32, c *cell, hash uint64, r *storage.Record, seen storage.Use) {
	w := encode(r, hash)
	var old storage.Record
	was := c.words()
	t.texts.decodeWords(&old, &was, t.texts.chunk(was[wText]))
	kept := sameTexts(&old, r)
	if kept {
		w[wText], w[wMeta] = was[wText], was[wMeta]&textBits
	} else {
		t.texts.add(&w, r)
	}
	moved := old.Subject != r.Subject
	if moved {
		t.subjects.unlink(slot)
	}
	c.lock()
	was = c.words()
	if int64(w[wEnded]) == zeroMilli && w.merge(&was, seen) {
		t.setUnsaved(slot)
	}
	flags := uint64(occupied)
	if !moved { // or else link finds it in no list
		flags |= was[wMeta] & inDead
	}
	c.set(&w, flags)
	c.unlock(true)
	if !kept {
		t.texts.release(&was)
	}
	switch {
	case moved:
		t.subjects.link(slot, hash, r.Subject, &t.texts)
	case flags&inDead != 0 && (w[wExpires] != was[wExpires] || w[wEnded] != was[wEnded]):
		t.subjects.restore(slot, &t.texts)
	}
	if dead := w.deadFrom(); dead < was.deadFrom() {
		t.expiries.unlink(slot)
		t.expiries.insert(slot, dead)
	}
}

// Delete removes the record of id and reports whether there was one.
func (t *Table) Delete(id storage.ID) bool {
	k := t.key(&id)
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.delete(k)
}

func (t *Table) delete(k key) bool {
	slot, c := t.find(k)
	if c == nil {
		return false
	}
	t.hide(slot, c, lastMilli+1)
	t.remove(slot, c, k)
	t.compact(compactWork)
	return true
}

// hide hides the record in the cell from all readers if it was dead before the instant, and
// returns its death otherwise. No Touch can raise the record while the cell is locked, and a
// later Touch finds nothing.
func (t *Table) hide(slot uint32, c *cell, before int64) (killed bool, dead int64) {
	c.lock()
	w := c.words()
	dead = w.deadFrom()
	killed = dead < before
	if killed {
		t.clearUnsaved(slot)
		c.store(wMeta, c.load(wMeta)&^occupied)
	}
	c.unlock(killed)
	return killed, dead
}

// remove forgets a record that kill has taken out of sight.
func (t *Table) remove(slot uint32, c *cell, k key) {
	t.ids.remove(k, slot)
	t.subjects.unlink(slot)
	t.expiries.unlink(slot)
	w := c.words()
	t.texts.release(&w)
	t.slabs.giveBack(slot, c)
	t.count.Add(-1)
}

// Len returns how many records there are.
func (t *Table) Len() int { return int(t.count.Load()) }
