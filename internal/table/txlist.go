package table

import (
	"iter"
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Records implements storage.Tx.
func (t *Tx) Records() iter.Seq2[storage.Record, error] { return t.records }

// yieldRecords is the iterator that Records returns.
func (t *Tx) yieldRecords(yield func(storage.Record, error) bool) {
	ids := t.takeIDs()
	ids = t.addCreated(t.stage.table.Subject(ids, t.subject))
	defer func() { t.ids = ids }()
	var r storage.Record
	for _, id := range ids {
		// A deleted ID may belong to another subject by now.
		if _, err := t.read(id, &r); err == nil && r.Subject == t.subject && !yield(r, nil) {
			return
		}
	}
}

// Living implements storage.Tx. It yields no record that is dead at now, and does not count those
// as read.
func (t *Tx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		ids := t.takeIDs()
		ids = t.addCreated(t.stage.table.Living(ids, t.subject, now, t.keep))
		defer func() { t.ids = ids }()
		var r storage.Record
		for _, id := range ids {
			at, found, err := t.peek(id, &r)
			if err != nil || r.Subject != t.subject || !r.Live(now) {
				continue
			}
			if !found {
				t.noteRead(at, &r)
			}
			if !yield(r, nil) {
				return
			}
		}
	}
}

// takeIDs returns the buffer for IDs and takes it from the transaction. A loop body that iterates
// as well gets another buffer.
func (t *Tx) takeIDs() []storage.ID {
	ids := t.ids[:0]
	t.ids = nil
	return ids
}

// addCreated adds to ids, which are in order, the IDs of the subject's records that held writes or
// this transaction create.
func (t *Tx) addCreated(ids []storage.ID) []storage.ID {
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

// hasWrite reports whether a write of id is held or is in this transaction. Then the record in the
// table does not tell whether the record lives.
func (t *Tx) hasWrite(id storage.ID) bool {
	if t.stage.held[id] != nil {
		return true
	}
	at, found := t.find(id)
	return found && t.known[at].write >= 0
}
