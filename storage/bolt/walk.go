package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"
)

// walker reads every page that a meta page leads to, once. It accepts what bbolt
// writes, to the byte where bbolt has no choice, so that bbolt meets nothing over
// which it would panic, loop, or read outside its map.
type walker struct {
	file   io.ReaderAt
	meta   meta
	seen   visitor
	taken  []bool // pages that the tree, the free list or the metas hold
	read   int    // how many of them
	levels []level
	bucket string // the one whose pages are read
}

// visitor is told what a walk meets.
type visitor struct {
	// pair is given every key and value of the bucket of tokens, in the order of the
	// keys. Both belong to the walk.
	// ErrCorrupt means that this one is damaged, and the walk goes on.
	pair func(key, value []byte) error

	// progress is told after every page how many of how many have been read.
	progress func(done, total int)

	// changed is given, after the walk, what has become of every record that the journal
	// alone knows of: first those that it deletes.
	changed func(*change) error
}

// level is the memory for one page of each depth of the tree, which is used again
// for its next one.
type level struct {
	page     []byte
	elements []element
}

// walk returns what is wrong with the pages of file, if anything is, or what seen
// says.
func walk(file io.ReaderAt, m meta, seen visitor) error {
	w := &walker{file: file, meta: m, seen: seen, taken: make([]bool, m.pages)}
	if err := errors.Join(w.take(0, 1), w.take(1, 1)); err != nil {
		return err
	}
	if err := w.freelist(); err != nil {
		return err
	}
	if err := w.tree(0, m.root, nil, nil); err != nil {
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
	w.read += int(n)
	if w.seen.progress != nil {
		w.seen.progress(w.read, len(w.taken))
	}
	return nil
}

// level returns the memory for pages of a depth.
func (w *walker) level(depth int) *level {
	for len(w.levels) <= depth {
		w.levels = append(w.levels, level{})
	}
	return &w.levels[depth]
}

// page reads the page of id with its overflow and returns it with its type. It is
// good until the next page of the same depth.
func (w *walker) page(depth int, id uint64) (p []byte, kind uint16, err error) {
	if err := w.take(id, 1); err != nil {
		return nil, 0, err
	}
	l := w.level(depth)
	size := w.meta.pageSize
	at := int64(id * size)
	p = slices.Grow(l.page[:0], int(size))[:size]
	l.page = p
	if _, err := w.file.ReadAt(p, at); err != nil {
		return nil, 0, err
	}
	order := binary.NativeEndian
	overflow := uint64(order.Uint32(p[pageOverflow:]))
	if order.Uint64(p) != id {
		return nil, 0, fmt.Errorf("page %d says that it is another", id)
	}
	if err := w.take(id+1, overflow); err != nil {
		return nil, 0, err
	}
	if overflow > 0 {
		p = slices.Grow(p, int(overflow*size))[:(overflow+1)*size]
		l.page = p
		if _, err := w.file.ReadAt(p[size:], at+int64(size)); err != nil {
			return nil, 0, err
		}
	}
	return p, order.Uint16(p[pageFlags:]), nil
}

// freelist reads the list of free pages, in ascending order.
func (w *walker) freelist() error {
	p, kind, err := w.page(0, w.meta.freelist)
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
func (w *walker) tree(depth int, id uint64, low, high []byte) error {
	p, kind, err := w.page(depth, id)
	if err != nil {
		return err
	}
	switch kind {
	case branchPage:
		err = w.branch(depth, p, low, high)
	case leafPage:
		err = w.leaf(depth, p, low, high)
	default:
		return fmt.Errorf("page %d is of no known kind", id)
	}
	if err != nil {
		return fmt.Errorf("page %d: %w", id, err)
	}
	return nil
}

func (w *walker) branch(depth int, p, low, high []byte) error {
	els, err := w.elements(depth, p, false)
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
		if err := w.tree(depth+1, el.child, el.key, below(els, i, high)); err != nil {
			return err
		}
	}
	return nil
}

// leaf reads a page of records or buckets. Only a bucket that has nothing in it has
// an empty one, as its root.
func (w *walker) leaf(depth int, p, low, high []byte) error {
	els, err := w.elements(depth, p, true)
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
		switch {
		case el.bucket:
			err = w.inside(depth, el)
		case w.seen.pair != nil && w.bucket == string(tokensBucket):
			err = w.seen.pair(el.key, el.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// inside reads a bucket that hangs from a leaf: its root, or all of it if it is
// small.
func (w *walker) inside(depth int, el element) error {
	defer func(outer string) { w.bucket = outer }(w.bucket)
	w.bucket += string(el.key) // of one inside another the name is none of ours
	if len(el.value) < bucketLen {
		return errors.New("a bucket is too short")
	}
	if root := binary.NativeEndian.Uint64(el.value); root != 0 {
		return w.tree(depth+1, root, nil, nil)
	}
	inline := el.value[bucketLen:]
	if len(inline) < pageHeader || binary.NativeEndian.Uint16(inline[pageFlags:]) != leafPage {
		return errors.New("a small bucket is no leaf")
	}
	return w.leaf(depth+1, inline, nil, nil)
}
