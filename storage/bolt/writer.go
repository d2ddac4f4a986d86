package bolt

import (
	"bytes"

	"go.etcd.io/bbolt"
)

// fillPercent is how full bbolt leaves the pages it splits. New keys come after
// all others, so a page that was split is never written to again.
const fillPercent = 0.9

// writer changes the records of a file in one transaction, and what they sum up to.
type writer struct {
	tokens *bbolt.Bucket
	look   *bbolt.Cursor
	last   []byte // the last key that there was when that was first asked for
	all    sum
}

func newWriter(tokens *bbolt.Bucket, all sum) *writer {
	tokens.FillPercent = fillPercent
	return &writer{tokens: tokens, look: tokens.Cursor(), all: all}
}

// get returns what is stored under key, or nil. It is good until the next put.
func (w *writer) get(key []byte) []byte {
	if k, v := w.look.Seek(key); bytes.Equal(k, key) {
		return v
	}
	return nil
}

// isNew reports, without a look for it, that nothing is stored under e's key: what was
// in the file does not come that late, and nothing has been put since.
func (w *writer) isNew(e *entry) bool {
	if !e.created {
		return false
	}
	if w.last == nil {
		last, _ := w.look.Last()
		w.last = append(make([]byte, 0, len(e.id)), last...) // and not nil, where there is none
	}
	return bytes.Compare(e.id[:], w.last) > 0
}

func (w *writer) put(e *entry) error {
	key := e.id[:]
	if !w.isNew(e) {
		if old := w.get(key); old != nil {
			w.all.remove(key, old)
		}
	}
	w.all.add(key, e.value)
	return w.tokens.Put(key, e.value)
}

func (w *writer) delete(key []byte) error {
	if old := w.get(key); old != nil {
		w.all.remove(key, old)
	}
	return w.tokens.Delete(key)
}

// finish writes what all records sum up to.
func (w *writer) finish() error { return w.all.put(w.tokens) }
