package table

import (
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// known is a record that a transaction has read or written.
type known struct {
	id    storage.ID
	seen  storage.Use
	write int  // its index in Tx.writes, or -1
	gone  bool // deleted by this transaction
}

// find returns the place of id in known and true, or the place where id belongs and false. It tries
// the end first, since updates mostly read in ID order and read the last record again.
func (t *Tx) find(id storage.ID) (int, bool) {
	n := len(t.known)
	if n == 0 {
		return 0, false
	}
	if t.index != nil {
		at, found := t.index[id]
		if !found {
			at = n
		}
		return at, found
	}
	switch c := t.known[n-1].id.Compare(id); {
	case c == 0:
		return n - 1, true
	case c < 0:
		return n, false
	}
	return slices.BinarySearchFunc(t.known, id, func(k known, id storage.ID) int { return k.id.Compare(id) })
}

// maxShift is how many entries of known an insertion may move. Beyond that known gets an index.
const maxShift = 64

// addKnown adds k to known, at a place that find has returned, and returns its place.
func (t *Tx) addKnown(at int, k known) int {
	if t.index == nil && len(t.known)-at <= maxShift {
		t.known = slices.Insert(t.known, at, k)
		return at
	}
	if t.index == nil {
		t.index = make(map[storage.ID]int)
		for i := range t.known {
			t.index[t.known[i].id] = i
		}
	}
	at = len(t.known)
	t.known, t.index[k.id] = append(t.known, k), at
	return at
}
