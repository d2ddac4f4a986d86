// Package table keeps the token records of a store in the memory of this process. Get and Touch
// take no lock that a writer of another record holds, and they allocate nothing. The records lie in
// slabs without pointers, so that millions of them cost the garbage collector nothing.
//
// A guarantee of this package covers one record at a time. Get returns a record as it was at one
// instant, never half of a Put or of a Touch. A Touch that returned true is never lost to a Put or
// to TakeDead. Guarantees across several records are the caller's task.
//
// Instants are kept to the millisecond, rounded down, from year 1 to 9999, and come back in UTC.
// TTLs are kept in whole milliseconds. The memory for texts stays in proportion to the texts of the
// stored records. The 128 bytes of a deleted record are used again, but never given back to the
// operating system.
package table

import (
	"crypto/rand"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
)

// Table is a table of records, indexed by ID, by subject and by the instant of death. It is safe
// for concurrent use. New makes one. Get, MarkUnsaved, Len, Unsaved and TakeUnsaved never take the
// table's lock. Touch takes the lock only for a record that Living has moved to a dead list.
type Table struct {
	seed        maphash.Seed // random, so that IDs and subjects cannot be chosen to collide
	pageKey     [32]byte     // random; of the texts that stand for places between pages
	ids         ids
	slabs       slabs
	_           cachePad
	texts       texts
	count       atomic.Int64
	unsaved     atomic.Int64 // how many records are unsaved
	unsavedScan atomic.Uint32

	mu         sync.Mutex // guards the links of the cells, the fields below, and all state that only writers use
	subjects   subjectIndex
	expiries   expiryIndex
	compaction compaction
}

// New returns an empty table.
func New() *Table {
	t := &Table{seed: maphash.MakeSeed()}
	rand.Read(t.pageKey[:]) // never fails
	t.subjects.slabs, t.expiries.slabs = &t.slabs, &t.slabs
	return t
}

// Get sets *r to the record of id and returns true. It returns false and leaves *r alone if there
// is no such record. The strings of *r never change; a caller that keeps one of them keeps the 64
// KiB of texts around it in memory.
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

// Touch applies Use.Raise to the record of id, marks the record unsaved if a field rose, and
// reports whether one did. An absent or ended record stays as it is. A record that a Touch has
// brought back to life is found by every Living that begins after the Touch has returned.
func (t *Table) Touch(id storage.ID, use storage.Use) bool {
	at, expires := milli(use.At), milli(use.ExpiresAt)
	k := t.key(&id)
	ref, c := t.lockRecord(k)
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
		t.setUnsaved(ref)
	}
	c.unlock(rose)
	if back {
		t.restore(id)
	}
	return rose
}

// Put creates the record r.ID or replaces it. seen holds the LastUsedAt and ExpiresAt that the
// writer of r saw in the record that r replaces; it is ignored if there is no such record. A field
// that a Touch has raised since then becomes the later of the stored instant and that of r, and the
// record is marked unsaved. ExpiresAt never passes the MaxExpiresAt of r. An ended r is stored as
// it is, because an end comes after every Touch. The table keeps no memory of r.
func (t *Table) Put(r *storage.Record, seen storage.Use) {
	p := t.locate(r)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.put(p, r, seen)
}

// location says where the indexes have a record: under its ID and under the hash of its subject.
type location struct {
	id      key
	subject uint64 // the hash
}

func (t *Table) locate(r *storage.Record) location {
	return location{t.key(&r.ID), t.subjectHash(r.Subject)}
}

func (t *Table) put(p location, r *storage.Record, seen storage.Use) {
	if ref, c := t.find(p.id); c != nil {
		t.replace(ref, c, p.subject, r, seen)
	} else {
		t.insert(p.id, p.subject, r)
	}
	t.compact(compactWork + (len(r.Subject)+len(r.Name)+len(r.Scope)+len(r.Data))/compactBytes)
}

func (t *Table) insert(k key, hash uint64, r *storage.Record) {
	w := encode(r, hash)
	t.texts.add(&w, r)
	ref, c, fresh := t.slabs.take()
	if fresh {
		// No reader can see this cell before publish.
		w[wMeta] |= occupied
		c.w = w
		t.slabs.publish(ref)
	} else {
		c.lock()
		c.set(&w, occupied)
		c.unlock(true)
	}
	if r.Kind == storage.KindAlias {
		t.subjects.linkAlias(ref, hash, r.Subject, &t.texts)
	} else {
		t.subjects.link(ref, hash, r.Subject, &t.texts)
	}
	t.expiries.fileUnder(ref, w.deadFrom())
	t.ids.insert(k, ref)
	t.count.Add(1)
}

func (t *Table) replace(ref uint32, c *cell, hash uint64, r *storage.Record, seen storage.Use) {
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
		t.subjects.unlink(ref)
	}
	c.lock()
	was = c.words()
	if int64(w[wEnded]) == zeroMilli && w.merge(&was, seen) {
		t.setUnsaved(ref)
	}
	flags := uint64(occupied)
	if !moved { // otherwise the record leaves its list, and link adds it to the main one
		flags |= was[wMeta] & inDead
	}
	c.set(&w, flags)
	c.unlock(true)
	if !kept {
		t.texts.release(&was)
	}
	switch {
	case moved:
		t.subjects.link(ref, hash, r.Subject, &t.texts)
	case flags&inDead == 0 || r.Kind == storage.KindAlias:
	case old.Kind == storage.KindAlias || w[wExpires] != was[wExpires] || w[wEnded] != was[wEnded]:
		t.subjects.restore(ref, &t.texts)
	}
	if dead := w.deadFrom(); dead < was.deadFrom() {
		t.expiries.unlink(ref)
		t.expiries.fileUnder(ref, dead)
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
	ref, c := t.find(k)
	if c == nil {
		return false
	}
	t.hide(ref, c, lastMilli+1)
	t.remove(ref, c, k)
	t.compact(compactWork)
	return true
}

// hide makes the record in the cell invisible to readers if it was dead before the instant, and
// reports whether it did. It returns the instant from which the record is dead. The cell is locked
// meanwhile, so that no Touch can raise the record between the check and the change. A later Touch
// finds no record.
func (t *Table) hide(ref uint32, c *cell, before int64) (killed bool, dead int64) {
	c.lock()
	w := c.words()
	dead = w.deadFrom()
	killed = dead < before
	if killed {
		t.clearUnsaved(ref)
		c.store(wMeta, c.load(wMeta)&^occupied)
	}
	c.unlock(killed)
	return killed, dead
}

// remove deletes a record that hide has made invisible from all indexes and frees its cell.
func (t *Table) remove(ref uint32, c *cell, k key) {
	t.ids.remove(k, ref)
	t.subjects.unlink(ref)
	t.expiries.unlink(ref)
	w := c.words()
	t.texts.release(&w)
	t.slabs.giveBack(ref, c)
	t.count.Add(-1)
}

// Len returns how many records there are.
func (t *Table) Len() int { return int(t.count.Load()) }
