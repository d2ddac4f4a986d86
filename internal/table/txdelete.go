package table

import (
	"fmt"

	"github.com/seed-55daa01a/lapse/storage"
)

var errDeleted = fmt.Errorf("%w: this update has deleted the record", storage.ErrConflict)

// Delete implements storage.Tx. A record that the transaction itself has created leaves no write
// behind.
func (t *Tx) Delete(id storage.ID) error {
	var r storage.Record
	at, err := t.read(id, &r)
	switch {
	case err != nil:
		return err
	case r.Subject != t.subject:
		return storage.ErrNotFound
	}
	k := &t.known[at]
	k.gone = true
	switch {
	case k.write < 0:
		k.write = len(t.writes)
		t.writes = append(t.writes, Write{})
	case t.writes[k.write].creates:
		t.dropWrite(k.write)
		k.write = -1
		return nil
	}
	w := &t.writes[k.write]
	w.Deletes, w.touchLimit = true, &touchLimit{blocks: true}
	w.Record = storage.Record{Token: storage.Token{ID: id, Subject: r.Subject}}
	return nil
}

// dropWrite removes a write and moves the last write to its place.
func (t *Tx) dropWrite(write int) {
	last := len(t.writes) - 1
	if write != last {
		t.writes[write] = t.writes[last]
		at, _ := t.find(t.writes[write].Record.ID)
		t.known[at].write = write
	}
	t.writes[last] = Write{} // create relies on zero values
	t.writes = t.writes[:last]
}
