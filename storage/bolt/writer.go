package bolt

import (
	"bytes"
	"fmt"
	"runtime"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// fillPercent is how full bbolt leaves the pages it splits: full. New keys come after all
// others, and a record that is written again is hardly ever longer than it was.
const fillPercent = 1.0

// writer changes the records of a file in one transaction, and what they sum up to.
type writer struct {
	tx     *bbolt.Tx
	tokens *bbolt.Bucket
	look   *bbolt.Cursor
	last   []byte // the last key that there was when that was first asked for
	all    sum
}

func newWriter(btx *bbolt.Tx, all sum) (*writer, error) {
	tokens := btx.Bucket(tokensBucket)
	if tokens == nil {
		return nil, fmt.Errorf("%w: its bucket is gone", storage.ErrCorrupt)
	}
	tokens.FillPercent = fillPercent
	return &writer{tx: btx, tokens: tokens, look: tokens.Cursor(), all: all}, nil
}

// applyStep is how many changes are made without letting others run.
const applyStep = 32

// apply makes changes, each of another record.
func (w *writer) apply(changes []change) error {
	for i := range changes {
		if i%applyStep == applyStep-1 {
			runtime.Gosched() // with few processors, somebody waits to read
		}
		c := &changes[i]
		key := c.id[:]
		if old := w.get(key); old != nil {
			w.all.remove(key, old)
		}
		err := error(nil)
		if c.value == nil {
			err = w.tokens.Delete(key)
		} else {
			w.all.add(key, c.value)
			err = w.tokens.Put(key, c.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// get returns what was stored under key when the transaction began, or nil. It is good
// until the next put. What was in the file does not come after its last key, which
// spares new records the search.
func (w *writer) get(key []byte) []byte {
	if w.last == nil {
		last, _ := w.look.Last()
		w.last = append(make([]byte, 0, len(key)), last...) // and not nil, where there is none
	}
	if bytes.Compare(key, w.last) > 0 {
		return nil
	}
	if k, v := w.look.Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}

// finish writes what all records sum up to.
func (w *writer) finish() error { return w.all.put(w.tokens) }
