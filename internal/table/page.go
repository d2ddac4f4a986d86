package table

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/seed-55daa01a/lapse/internal/base62"
	"github.com/seed-55daa01a/lapse/storage"
)

// Page is the method of storage.Pager. The records of damaged, in ID order, are not in the table and
// come first, each as a page of its own. damaged must be the same for each page. The records of the
// table come in the order of their cells. A record never changes its cell, so that a page is the
// cells behind a number, and each record that stays is in one page.
func (t *Table) Page(after string, n int, damaged []storage.ID) (recs []storage.Record, next string, err error) {
	passed, ok := t.passed(after)
	switch {
	case !ok:
		return nil, "", storage.ErrInvalidAfter
	case n < 1:
		return nil, after, nil
	case passed < uint64(len(damaged)):
		r := storage.Record{Token: storage.Token{ID: damaged[passed]}}
		return []storage.Record{r}, t.after(passed + 1), fmt.Errorf("%w: a record", storage.ErrCorrupt)
	}
	before := uint64(len(damaged))
	recs, top := t.cellsBehind(uint32(passed-before), n)
	if top > 0 {
		next = t.after(before + uint64(top))
	}
	return recs, next, nil
}

// cellsBehind returns the records of at most n cells behind the cell passed. last is the last cell
// that the caller has passed then, or 0 if no record lies behind it.
func (t *Table) cellsBehind(passed uint32, n int) (recs []storage.Record, last uint32) {
	recs = make([]storage.Record, 0, min(n, t.Len()))
	top := t.slabs.top.Load()
	for ref := passed + 1; ref <= top; ref++ {
		c := t.slabs.cell(ref)
		if len(recs) == n {
			if c.load(wMeta)&occupied != 0 {
				return recs, ref - 1
			}
			continue
		}
		recs = slices.Grow(recs, 1)
		if free := recs[:len(recs)+1]; t.readCell(c, &free[len(recs)]) {
			recs = free
		}
	}
	return recs, 0
}

// readCell sets *r to the record that c held at one instant. It returns false if c held none.
func (t *Table) readCell(c *cell, r *storage.Record) bool {
	for {
		r.ID = c.id()
		k := key{high: binary.BigEndian.Uint64(r.ID[:8]), low: binary.BigEndian.Uint64(r.ID[8:])}
		if found, settled := t.read(c, k, r); settled {
			return found
		}
	}
}

// macLen is the length of the proof in an after that the table made it.
const macLen = 8

// after returns the text that stands for the place behind passed records and cells: the number and
// its HMAC under the key of the table. Another table has another key, and so refuses the text.
func (t *Table) after(passed uint64) string {
	var b [8 + macLen]byte
	binary.BigEndian.PutUint64(b[:], passed)
	t.pageMAC(b[:8], b[8:])
	return string(base62.Append(nil, b[:]))
}

// passed returns the number in a text of after, 0 for "". ok is false for any other text.
func (t *Table) passed(after string) (n uint64, ok bool) {
	if after == "" {
		return 0, true
	}
	var b [8 + macLen]byte
	if len(after) != 2*base62.Group || !base62.Decode(b[:], after) {
		return 0, false
	}
	var want [macLen]byte
	t.pageMAC(b[:8], want[:])
	return binary.BigEndian.Uint64(b[:8]), hmac.Equal(want[:], b[8:])
}

// pageMAC sets mac to the first bytes of the HMAC of number.
func (t *Table) pageMAC(number, mac []byte) {
	h := hmac.New(sha256.New, t.pageKey[:])
	h.Write(number)
	copy(mac, h.Sum(nil))
}
