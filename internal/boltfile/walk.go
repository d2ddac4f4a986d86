package boltfile

import (
	"encoding/binary"
	"io"
	"slices"
)

// Visitor has the functions that Walk calls.
type Visitor struct {
	// Bucket is the top-level bucket for whose pairs Walk calls Pair. The pairs of the
	// buckets inside of it do not count.
	Bucket string

	// Pair is called for each pair of Bucket, in the order of the keys; it may be nil. The
	// memory of key and value is used again: Pair keeps copies. An error ends the walk,
	// and Walk returns it as it is.
	Pair func(key, value []byte) error

	// Progress is told how many of all pages Walk has accounted for; it may be nil. Where
	// the file has no list of free pages, free pages are never accounted for.
	Progress func(done, total int)
}

// Walk reads every page to which m, a result of ReadMetas, leads, each once. It accepts
// only files that bbolt v1.5 can write, so that bbolt finds nothing over which it panics,
// loops, or reads outside of its map. Keys and values have no checksum in bbolt's format:
// Walk does not notice that they have changed.
//
// Where the file has no list of free pages, a page that belongs to nothing is no damage:
// bbolt treats it as free. Walk does not read the pages to which no page leads.
//
// The errors are ErrDamaged, also where the tree with the buckets in it is more than 64
// pages deep, those of v.Pair, and those of reading. v.Pair may have been called for some
// pairs by then.
func Walk(f io.ReaderAt, m Meta, v Visitor) error {
	w := newWalker(f, m, v)
	w.readAhead()
	err := w.freelist()
	if err == nil {
		err = w.tree(0, m.Root, nil, nil)
	}
	if id := slices.Index(w.claimed, false); err == nil && id >= 0 && m.HasFreelist() {
		err = damaged("page %d belongs to nothing", id)
	}
	return err
}

// maxDepth is how deep a tree with all buckets in it may be.
const maxDepth = 64

// walker is a walk under way.
type walker struct {
	file     io.ReaderAt
	meta     Meta
	seen     Visitor
	claimed  []bool   // pages that the tree, the free list or the metas hold
	done     int      // how many of them
	nested   int      // how many buckets the page lies in
	told     bool     // the innermost of them is the bucket of the visitor
	path     []string // if not nil, the keys to which the walk leads, see Get
	found    bool     // the bucket of the visitor
	sequence uint64   // of that bucket

	// The memory for one page of each depth, which is used again for the next one.
	pages    [maxDepth][]byte
	elements [maxDepth + 1][]element
}

func newWalker(f io.ReaderAt, m Meta, v Visitor) *walker {
	if v.Progress == nil {
		v.Progress = func(int, int) {}
	}
	w := &walker{file: f, meta: m, seen: v, claimed: make([]bool, m.Pages)}
	w.done = copy(w.claimed, []bool{true, true}) // the meta pages
	return w
}

// readAhead reads a file of 4 MiB or more once from front to back, into the memory of the
// system. The walk then reads the pages in the order of their keys, and without readAhead
// it would wait for the disk once for each page. An error does not matter here: the walk
// reads the page again, if the page belongs to anything.
func (w *walker) readAhead() {
	const block = 1 << 20
	if end := int64(w.meta.Pages * w.meta.PageSize); end >= 4*block {
		file := struct{ io.Reader }{io.NewSectionReader(w.file, 0, end)}
		_, _ = io.CopyBuffer(struct{ io.Writer }{io.Discard}, file, make([]byte, block))
	}
}

// page reads the page of id with its overflow, and claims both. The page is valid until the
// next page of the same depth is read.
func (w *walker) page(depth int, id uint64) (page, error) {
	size, order := w.meta.PageSize, binary.NativeEndian
	if depth == maxDepth {
		return page{}, damaged("its tree is more than %d pages deep", maxDepth)
	}
	if err := w.claim(id, 1); err != nil {
		return page{}, err
	}
	p := slices.Grow(w.pages[depth][:0], int(size))[:size]
	if err := readAt(w.file, p, int64(id*size)); err != nil {
		return page{}, err
	}
	overflow := uint64(order.Uint32(p[pageOverflow:]))
	if order.Uint64(p) != id || w.claim(id+1, overflow) != nil {
		return page{}, damaged("page %d says that it is another, or reaches into another", id)
	}
	if p = slices.Grow(p, int(overflow*size))[:(overflow+1)*size]; overflow > 0 {
		if err := readAt(w.file, p[size:], int64((id+1)*size)); err != nil {
			return page{}, err
		}
	}
	w.pages[depth] = p
	w.seen.Progress(w.done, len(w.claimed))
	return page{id, order.Uint16(p[pageFlags:]), size, p}, nil
}

// claim claims n pages from id on. It fails if one of them is claimed already, or lies
// outside of the file.
func (w *walker) claim(id, n uint64) error {
	for ; n > 0; id, n = id+1, n-1 {
		if id >= w.meta.Pages || w.claimed[id] {
			return damaged("page %d is held twice, or lies outside of the file", id)
		}
		w.claimed[id] = true
		w.done++
	}
	return nil
}

// freelist reads the list of free pages, which ascend, if there is one.
func (w *walker) freelist() error {
	if !w.meta.HasFreelist() {
		return nil
	}
	p, err := w.page(0, w.meta.Freelist)
	if err != nil {
		return err
	}
	order := binary.NativeEndian
	n, ids := uint64(order.Uint16(p.data[pageCount:])), p.data[pageHeader:]
	if n == 0xFFFF { // the count did not fit and comes first
		n, ids = order.Uint64(ids), ids[8:]
	}
	if p.kind != freelistPage || n > uint64(len(ids)/8) {
		return p.damaged("not a list of free pages")
	}
	for last := uint64(0); n > 0; n, ids = n-1, ids[8:] {
		id := order.Uint64(ids)
		if id <= last || w.claim(id, 1) != nil {
			return p.damaged("the list of free pages is out of order, or holds a page that is not free")
		}
		last = id
	}
	return nil
}

// tree reads the page of id and all pages below it. The first key is low, unless low is nil,
// and all keys are below high, unless high is nil.
func (w *walker) tree(depth int, id uint64, low, high []byte) error {
	p, err := w.page(depth, id)
	if err != nil {
		return err
	}
	return w.visit(depth, p, low, high)
}

// visit reads the elements of p and all pages below it. With a path it reads only the pages
// on the path.
func (w *walker) visit(depth int, p page, low, high []byte) error {
	els, err := p.elements(w.elements[depth], low, high)
	if err != nil {
		return err
	}
	w.elements[depth] = els
	for i, el := range els {
		switch {
		case w.path != nil && w.offPath(p, el.key, below(els, i, high)):
		case p.kind == branchPage:
			err = w.tree(depth+1, el.child, el.key, below(els, i, high))
		case el.bucket, w.nested == 0: // the tree of the top has buckets alone
			err = w.bucket(depth, p, el)
		case w.told && w.seen.Pair != nil:
			err = w.seen.Pair(el.key, el.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// bucket reads the bucket of el, an element of the leaf p: the pages of the bucket, or, if
// the bucket is small and has no buckets inside, the leaf that is its value.
func (w *walker) bucket(depth int, p page, el element) error {
	order := binary.NativeEndian
	if !el.bucket || len(el.value) < bucketLen || p.size == 1 {
		return p.damaged("a record where a bucket must be, or the other way round")
	}
	root, sequence, leaf := order.Uint64(el.value), order.Uint64(el.value[8:]), el.value[bucketLen:]
	defer func(told bool) { w.told, w.nested = told, w.nested-1 }(w.told)
	if w.told = w.nested == 0 && string(el.key) == w.seen.Bucket; w.told {
		w.found, w.sequence = true, sequence
	}
	w.nested++
	switch {
	case root != 0 && len(leaf) == 0:
		return w.tree(depth+1, root, nil, nil)
	case root != 0, len(leaf) < pageHeader, order.Uint64(leaf) != 0, order.Uint16(leaf[pageFlags:]) != leafPage, order.Uint32(leaf[pageOverflow:]) != 0:
		return p.damaged("a bucket is neither a page nor a leaf")
	}
	return w.visit(depth+1, page{p.id, leafPage, 1, leaf}, nil, nil)
}
