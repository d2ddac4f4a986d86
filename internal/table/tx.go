package table

import (
	"iter"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// Tx is a storage.Tx. It sees the table, the held writes in front of it, and its own writes. A
// record that it has read once reads the same again, whatever a Touch raises meanwhile.
type Tx struct {
	stage   *Stage
	records iter.Seq2[storage.Record, error] // yieldRecords, as a value made once
	keep    func(storage.ID) bool            // hasWrite, as a value made once
	subject string
	known   []known            // the records that it has read or written, in ID order, or in order of arrival once there is an index
	index   map[storage.ID]int // the places in known; nil while keeping known in order is cheap
	writes  []Write
	ids     []storage.ID
	staged  bool // it has read a held write
}

// Writes returns the Puts and Deletes of the transaction. The slice belongs to the transaction
// until the next Begin.
func (t *Tx) Writes() []Write { return t.writes }

// TakeWrites returns the Puts and Deletes of the transaction for the caller to keep, and ends the
// transaction.
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

// Deleted returns how many records the transaction has deleted that existed before it.
func (t *Tx) Deleted() int {
	n := 0
	for i := range t.writes {
		if t.writes[i].Deletes {
			n++
		}
	}
	return n
}

// Staged reports whether the transaction has read a held write, which the table may not show yet.
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

// read sets *r to the record of id, of whatever subject, and returns its place in known.
func (t *Tx) read(id storage.ID, r *storage.Record) (at int, err error) {
	at, found, err := t.peek(id, r)
	if err == nil && !found {
		at = t.noteRead(at, r)
	}
	return at, err
}

// noteRead adds a record that peek has read to known, and returns its place there.
func (t *Tx) noteRead(at int, r *storage.Record) int {
	return t.addKnown(at, known{id: r.ID, write: -1, seen: storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}})
}

// peek is read, except that it does not add the record to known. It returns whether the record is
// in known, and its place or the place where it belongs.
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
		if r.Subject != t.subject || r.EndedBy != "" || r.EndNote != "" { // CheckPut copies the record
			if err := storage.CheckPut(t.subject, nil, r); err != nil {
				return err
			}
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
	if r.ExpiresAt.After(old.ExpiresAt) { // otherwise the next Living would skip the record in the dead list and never call hasWrite
		t.stage.table.restore(r.ID)
	}
	return nil
}

// growWrites makes room for one more write. It doubles the room: append would add a quarter to a
// large slice, and copying was nearly half of an update of 100,000 records (BenchmarkEndMany in
// storage/bolt).
func (t *Tx) growWrites() {
	if n := len(t.writes); n == cap(t.writes) {
		t.writes = slices.Grow(t.writes, n+1)
	}
}

// create puts r, which is a new record. at is its place in known.
func (t *Tx) create(at int, r *storage.Record) {
	n := len(t.writes)
	t.addKnown(at, known{id: r.ID, write: n})
	t.growWrites()
	t.writes = t.writes[:n+1] // the new element is zero: Begin and dropWrite clear what they give up
	w := &t.writes[n]
	w.creates = true
	w.Record = *r
}
