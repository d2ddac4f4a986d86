package table

import (
	"iter"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// Tx is a storage.Tx over the table, what is held in front of it, and what it put
// itself. What it has once read it reads again, whatever a Touch raises meanwhile.
type Tx struct {
	stage   *Stage
	records iter.Seq2[storage.Record, error] // each
	keep    func(storage.ID) bool            // concerns
	subject string
	known   []known            // what it read or wrote, in ID order, or as it came if there is an index
	index   map[storage.ID]int // the places in known, once keeping the order would cost too much
	writes  []Write
	ids     []storage.ID
	staged  bool // something that it read is not shown yet
}

// Writes returns what the transaction has put and deleted. It is the transaction's until
// the next Begin.
func (t *Tx) Writes() []Write { return t.writes }

// TakeWrites returns what Writes does, for the caller to keep, and ends the transaction.
func (t *Tx) TakeWrites() []Write {
	writes := t.writes
	t.writes = nil
	return writes
}

// Created returns how many records the transaction has created.
func (t *Tx) Created() int {
	n := 0
	for i := range t.writes {
		if t.writes[i].creates {
			n++
		}
	}
	return n
}

// Deleted returns how many records the transaction has deleted that were there before.
func (t *Tx) Deleted() int {
	n := 0
	for i := range t.writes {
		if t.writes[i].Deletes {
			n++
		}
	}
	return n
}

// Staged reports whether the transaction has read what is held and not shown yet.
func (t *Tx) Staged() bool { return t.staged }

// Get implements storage.Tx.
func (t *Tx) Get(id storage.ID) (r storage.Record, err error) {
	if _, err := t.read(id, &r); err != nil {
		return storage.Record{}, err
	}
	if r.Subject != t.subject {
		return storage.Record{}, storage.ErrNotFound
	}
	return r, nil
}

// read sets r to the record of id, whosever it is, and returns its place in known.
func (t *Tx) read(id storage.ID, r *storage.Record) (at int, err error) {
	at, found, err := t.peek(id, r)
	if err == nil && !found {
		at = t.noteRead(at, r)
	}
	return at, err
}

// noteRead notes what look has read, and returns its place in known.
func (t *Tx) noteRead(at int, r *storage.Record) int {
	return t.addKnown(at, known{id: r.ID, write: -1, seen: storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}})
}

// peek is read, but what it reads for the first time it does not note: it returns where
// that belongs in known, and that it has not found it there.
func (t *Tx) peek(id storage.ID, r *storage.Record) (at int, found bool, err error) {
	at, found = t.find(id)
	switch {
	case found && t.known[at].gone:
		return at, found, storage.ErrNotFound
	case found && t.known[at].write >= 0:
		*r = t.writes[t.known[at].write].Record
		return at, found, nil
	}
	if w := t.stage.held[id]; w != nil {
		t.staged = true
		if w.Deletes {
			return at, found, storage.ErrNotFound
		}
		*r = w.Record
		t.stage.applyTouches(r, w)
	} else if !t.stage.table.Get(id, r) {
		if t.stage.Damaged != nil && t.stage.Damaged(id) {
			return at, found, storage.ErrCorrupt
		}
		return at, found, storage.ErrNotFound
	}
	if found {
		r.LastUsedAt, r.ExpiresAt = t.known[at].seen.At, t.known[at].seen.ExpiresAt
	}
	return at, found, nil
}

// Put implements storage.Tx.
func (t *Tx) Put(r storage.Record) error {
	var old storage.Record
	at, err := t.read(r.ID, &old)
	switch {
	case err == storage.ErrNotFound:
		if r.Subject != t.subject { // a call copies the record
			return storage.CheckPut(t.subject, nil, r)
		}
		if _, gone := t.find(r.ID); gone {
			return errDeleted
		}
		t.create(at, &r)
		t.writes[len(t.writes)-1].touchLimit = t.stage.touchLimitOf(r.ID)
		return nil
	case err != nil:
		return err
	}
	if err := storage.CheckPut(t.subject, &old, r); err != nil {
		return err
	}
	k := &t.known[at]
	if k.write < 0 {
		k.write = len(t.writes)
		t.growWrites()
		t.writes = append(t.writes, Write{seen: k.seen, limit: old.MaxExpiresAt})
	}
	w := &t.writes[k.write]
	w.Record = r
	w.limitTouches(t.stage.touchLimitOf(r.ID))
	if r.ExpiresAt.After(old.ExpiresAt) { // or the next Living would not ask whether it is held
		t.stage.table.restore(r.ID)
	}
	return nil
}

// growWrites makes room for one more write. Room is doubled: append would add a quarter to a
// large slice of large elements, and copying was nearly half of an update of 100,000 records
// (BenchmarkEndMany in storage/bolt).
func (t *Tx) growWrites() {
	if n := len(t.writes); n == cap(t.writes) {
		t.writes = slices.Grow(t.writes, n+1)
	}
}

// create puts r, which is new, and whose place in known is at.
func (t *Tx) create(at int, r *storage.Record) {
	n := len(t.writes)
	t.addKnown(at, known{id: r.ID, write: n})
	t.growWrites()
	t.writes = t.writes[:n+1] // nothing is in it: Begin has seen to that
	w := &t.writes[n]
	w.creates = true
	w.Record = *r
}
