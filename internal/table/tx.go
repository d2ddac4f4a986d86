package table

import (
	"iter"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Tx is a storage.Tx over the table, what is held in front of it, and what it put
// itself. What it has once read it reads again, whatever a Touch raises meanwhile.
type Tx struct {
	stage   *Stage
	records iter.Seq2[storage.Record, error] // each
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
func (t *Tx) read(id storage.ID, r *storage.Record) (int, error) {
	at, found := t.find(id)
	switch {
	case found && t.known[at].gone:
		return 0, storage.ErrNotFound
	case found && t.known[at].write >= 0:
		*r = t.writes[t.known[at].write].Record
		return at, nil
	}
	if w := t.stage.held[id]; w != nil {
		t.staged = true
		if w.Deletes {
			return 0, storage.ErrNotFound
		}
		*r = w.Record
		t.stage.raise(r, w)
	} else if !t.stage.table.Get(id, r) {
		if t.stage.Damaged != nil && t.stage.Damaged(id) {
			return 0, storage.ErrCorrupt
		}
		return 0, storage.ErrNotFound
	}
	if found {
		r.LastUsedAt, r.ExpiresAt = t.known[at].seen.At, t.known[at].seen.ExpiresAt
		return at, nil
	}
	return t.know(at, known{id: id, write: -1, seen: storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}}), nil
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
		at, gone := t.find(r.ID)
		if gone {
			return errDeleted
		}
		t.create(at, &r)
		t.writes[len(t.writes)-1].removal = t.stage.removalOf(r.ID)
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
		t.writes = append(t.writes, Write{seen: k.seen, removal: t.stage.removalOf(r.ID)})
	}
	t.writes[k.write].Record = r
	return nil
}

// create puts r, which is new, and whose place in known is at.
func (t *Tx) create(at int, r *storage.Record) {
	n := len(t.writes)
	t.know(at, known{id: r.ID, write: n})
	t.writes = slices.Grow(t.writes, 1)[:n+1] // nothing is in it: Begin has seen to that
	w := &t.writes[n]
	w.creates = true
	w.Record = *r
}

// Raise applies use to the record of id, whosever it is, if there is one, and returns
// whose it is.
func (t *Tx) Raise(id storage.ID, use storage.Use) (subject string, err error) {
	var r storage.Record
	_, err = t.read(id, &r)
	if err == storage.ErrNotFound {
		return "", nil
	}
	if err == nil && use.Raise(&r) {
		t.subject = r.Subject
		err = t.Put(r)
	}
	return r.Subject, err
}

// Records implements storage.Tx.
func (t *Tx) Records() iter.Seq2[storage.Record, error] { return t.records }

// Living implements storage.Tx.
func (t *Tx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range t.records {
			if (err != nil || r.Live(now)) && !yield(r, err) {
				return
			}
		}
	}
}

func (t *Tx) each(yield func(storage.Record, error) bool) {
	var r storage.Record
	ids := t.all()
	defer func() { t.ids = ids }()
	for _, id := range ids {
		// An ID that was deleted may be another subject's by now.
		if _, err := t.read(id, &r); err == nil && r.Subject == t.subject && !yield(r, nil) {
			return
		}
	}
}

// all returns the subject's IDs in order, those that are held or were created here
// included.
func (t *Tx) all() []storage.ID {
	ids := t.ids[:0]
	t.ids = nil // the loop body may ask for all of them, too
	ids = t.stage.table.Subject(ids, t.subject)
	shown := len(ids)
	for w := t.stage.created[t.subject].first; w != nil; w = w.next {
		ids = append(ids, w.Record.ID)
	}
	for i := range t.writes {
		if w := &t.writes[i]; w.creates {
			ids = append(ids, w.Record.ID)
		}
	}
	if len(ids) > shown {
		slices.SortFunc(ids, storage.ID.Compare)
		ids = slices.Compact(ids)
	}
	return ids
}
