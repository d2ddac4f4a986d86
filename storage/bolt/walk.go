package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// What a bbolt page is made of: a header, that many elements of 16 bytes, and
// behind them the keys and values, packed in their order.
const (
	pageFlags    = 8 // in the header, behind the page's own number
	pageCount    = 10
	pageOverflow = 12 // how many pages more belong to it
	elementLen   = 16
	bucketLen    = 16 // a bucket in a leaf: the number of its root page, and a sequence

	branchPage   = 0x01
	leafPage     = 0x02
	freelistPage = 0x10
	bucketFlag   = 0x01 // of a leaf's element
)

// walker reads every page that a meta page leads to, once. It accepts what bbolt
// writes, to the byte where bbolt has no choice, so that bbolt meets nothing over
// which it would panic, loop, or read outside its map.
type walker struct {
	file  io.ReaderAt
	meta  meta
	taken []bool // pages that the tree, the free list or the metas hold
}

// walk returns what is wrong with the pages of file, if anything is.
func walk(file io.ReaderAt, m meta) error {
	w := &walker{file: file, meta: m, taken: make([]bool, m.pages)}
	w.taken[0], w.taken[1] = true, true
	if err := w.freelist(); err != nil {
		return err
	}
	if err := w.tree(m.root, nil, nil); err != nil {
		return err
	}
	for id, taken := range w.taken {
		if !taken {
			return fmt.Errorf("page %d belongs to nothing", id)
		}
	}
	return nil
}

// take marks n pages from id, each of which nothing else may hold.
func (w *walker) take(id, n uint64) error {
	if n > w.meta.pages || id > w.meta.pages-n {
		return fmt.Errorf("page %d lies outside of the file", id)
	}
	for i := id; i < id+n; i++ {
		if w.taken[i] {
			return fmt.Errorf("page %d is held twice", i)
		}
		w.taken[i] = true
	}
	return nil
}

// page reads the page of id with its overflow and returns it with its type.
func (w *walker) page(id uint64) (p []byte, kind uint16, err error) {
	if err := w.take(id, 1); err != nil {
		return nil, 0, err
	}
	var header [pageHeader]byte
	at := int64(id * w.meta.pageSize)
	if _, err := w.file.ReadAt(header[:], at); err != nil {
		return nil, 0, err
	}
	order := binary.NativeEndian
	overflow := uint64(order.Uint32(header[pageOverflow:]))
	if order.Uint64(header[:]) != id {
		return nil, 0, fmt.Errorf("page %d says that it is another", id)
	}
	if err := w.take(id+1, overflow); err != nil {
		return nil, 0, err
	}
	p = make([]byte, (overflow+1)*w.meta.pageSize)
	_, err = w.file.ReadAt(p, at)
	return p, order.Uint16(header[pageFlags:]), err
}

// freelist reads the list of free pages, in ascending order.
func (w *walker) freelist() error {
	p, kind, err := w.page(w.meta.freelist)
	if err != nil {
		return err
	}
	if kind != freelistPage {
		return errors.New("the list of free pages is not one")
	}
	order := binary.NativeEndian
	n, ids := uint64(order.Uint16(p[pageCount:])), p[pageHeader:]
	if n == 0xFFFF { // the count did not fit and comes first
		n, ids = order.Uint64(ids), ids[8:]
	}
	if n > uint64(len(ids)/8) {
		return errors.New("the list of free pages is longer than its page")
	}
	for last := uint64(0); n > 0; n, ids = n-1, ids[8:] {
		id := order.Uint64(ids)
		if id <= last {
			return errors.New("the list of free pages is out of order")
		}
		if err := w.take(id, 1); err != nil {
			return err
		}
		last = id
	}
	return nil
}

// tree reads the page of id and what is below it. Its keys are not below low, and
// below high, where those are given.
func (w *walker) tree(id uint64, low, high []byte) error {
	p, kind, err := w.page(id)
	if err != nil {
		return err
	}
	switch kind {
	case branchPage:
		err = w.branch(p, low, high)
	case leafPage:
		err = w.leaf(p, low, high)
	default:
		return fmt.Errorf("page %d is of no known kind", id)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (w *walker) branch(p, low, high []byte) error {
	els, err := elements(p, false)
	if err != nil {
		return err
	}
	if len(els) == 0 {
		return errors.New("a branch without children")
	}
	if err := inOrder(els, low, high); err != nil {
		return err
	}
	for i, el := range els {
		if err := w.tree(el.child, el.key, below(els, i, high)); err != nil {
			return err
		}
	}
	return nil
}

// leaf reads a page of records or buckets. Only a bucket that has nothing in it has
// an empty one, as its root.
func (w *walker) leaf(p, low, high []byte) error {
	els, err := elements(p, true)
	if err != nil {
		return err
	}
	if len(els) == 0 && low != nil {
		return errors.New("an empty leaf below a branch")
	}
	if err := inOrder(els, low, high); err != nil {
		return err
	}
	for _, el := range els {
		if !el.bucket {
			continue
		}
		if err := w.bucket(el.value); err != nil {
			return err
		}
	}
	return nil
}

// bucket reads a bucket inside a leaf: its root, or all of it if it is small.
func (w *walker) bucket(value []byte) error {
	if len(value) < bucketLen {
		return errors.New("a bucket is too short")
	}
	if root := binary.NativeEndian.Uint64(value); root != 0 {
		return w.tree(root, nil, nil)
	}
	inline := value[bucketLen:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[pageFlags:]) != leafPage {
		return errors.New("a small bucket is no leaf")
	}
	return w.leaf(inline, nil, nil)
}

// inOrder says whether the keys of els ascend, the first not below low and the last
// below high, where those are given.
func inOrder(els []element, low, high []byte) error {
	for i, el := range els {
		next := below(els, i, high)
		if low != nil && bytes.Compare(el.key, low) < 0 || next != nil && bytes.Compare(el.key, next) >= 0 {
			return errors.New("its keys are out of order")
		}
		low = el.key
	}
	return nil
}

// below returns what the i-th key of els, and all that hangs from it, is below: the
// next key, or high.
func below(els []element, i int, high []byte) []byte {
	if i+1 < len(els) {
		return els[i+1].key
	}
	return high
}

// element is one entry of a branch or a leaf.
type element struct {
	key, value []byte
	child      uint64 // of a branch
	bucket     bool   // the value is one
}

// elements returns the entries of p, whose keys and values must be packed behind
// them without a gap.
func elements(p []byte, leaf bool) ([]element, error) {
	order := binary.NativeEndian
	count := int(order.Uint16(p[pageCount:]))
	if pageHeader+count*elementLen > len(p) {
		return nil, errors.New("more elements than fit")
	}
	els := make([]element, count)
	at := uint64(pageHeader + count*elementLen) // where the next key must be
	for i := range els {
		start := uint64(pageHeader + i*elementLen)
		e := p[start:]
		var pos, keyLen, valueLen uint64
		if leaf {
			flags := order.Uint32(e)
			pos, keyLen, valueLen = uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:])), uint64(order.Uint32(e[12:]))
			if els[i].bucket = flags == bucketFlag; flags > bucketFlag {
				return nil, errors.New("an element is of no known kind")
			}
		} else {
			pos, keyLen, els[i].child = uint64(order.Uint32(e)), uint64(order.Uint32(e[4:])), order.Uint64(e[8:])
		}
		if start+pos != at || keyLen == 0 || at+keyLen+valueLen > uint64(len(p)) {
			return nil, errors.New("an element is not where it must be")
		}
		els[i].key, els[i].value = p[at:at+keyLen], p[at+keyLen:at+keyLen+valueLen]
		at += keyLen + valueLen
	}
	return els, nil
}
