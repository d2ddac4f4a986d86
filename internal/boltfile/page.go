package boltfile

import (
	"bytes"
	"encoding/binary"
	"slices"
)

// A page of bbolt is a header, as many elements of 16 bytes as the header counts, and the
// keys and values behind them, packed in their order. The header is the number of the page,
// and the fields at these places.
const (
	pageFlags, pageCount, pageOverflow = 8, 10, 12  // overflow: how many pages more belong to it
	pageHeader, elementLen, bucketLen  = 16, 16, 16 // of a bucket: the number of its root page, and its sequence

	branchPage, leafPage, freelistPage, bucketFlag = 0x01, 0x02, 0x10, 0x01 // kinds of pages, and the flag of an element of a leaf
)

// page is a page with its overflow, or a small bucket that lies inside of one.
type page struct {
	id   uint64
	kind uint16
	size uint64 // the length of data is a multiple of it; 1 for a small bucket
	data []byte
}

func (p page) damaged(what string) error { return damaged("page %d: %s", p.id, what) }

// element is one entry of a branch or a leaf.
type element struct {
	key, value []byte
	child      uint64 // of a branch
	bucket     bool   // the value is one
}

// elements returns the entries of p, a branch or a leaf, in the memory of old if they
// fit. The keys must ascend and be below high, unless high is nil. The first key must be
// low, unless low is nil: when bbolt writes, it finds a child in its branch by that key, and
// writes a tree with a loop where the key is another one.
func (p page) elements(old []element, low, high []byte) ([]element, error) {
	els, err := p.unpack(old)
	switch {
	case p.kind != branchPage && p.kind != leafPage:
		return nil, p.damaged("neither a branch nor a leaf")
	case err != nil:
		return nil, err
	case len(els) == 0 && (p.kind == branchPage || low != nil): // only the root of a bucket is empty
		return nil, p.damaged("it has no elements")
	case low != nil && !bytes.Equal(els[0].key, low):
		return nil, p.damaged("its first key is not the one that its branch knows it by")
	}
	for i := range els {
		if next := below(els, i, high); next != nil && bytes.Compare(els[i].key, next) >= 0 {
			return nil, p.damaged("its keys are out of order")
		}
	}
	return els, nil
}

// unpack reads the elements. Their keys and values must lie packed behind them, and p
// must end where they do.
func (p page) unpack(old []element) ([]element, error) {
	order := binary.NativeEndian
	count := int(order.Uint16(p.data[pageCount:]))
	end := uint64(pageHeader + count*elementLen) // of the elements, keys and values so far
	if end > uint64(len(p.data)) {
		return nil, p.damaged("more elements than fit")
	}
	els := slices.Grow(old[:0], count)[:count]
	for i := range els {
		start := uint64(pageHeader + i*elementLen)
		e, el := p.data[start:][:elementLen], element{}
		var pos, keyLen, valueLen uint64
		if p.kind == branchPage {
			pos, keyLen, el.child = uint64(order.Uint32(e)), uint64(order.Uint32(e[4:])), order.Uint64(e[8:])
		} else {
			pos, keyLen, valueLen = uint64(order.Uint32(e[4:])), uint64(order.Uint32(e[8:])), uint64(order.Uint32(e[12:]))
			if el.bucket = order.Uint32(e) == bucketFlag; order.Uint32(e) > bucketFlag {
				return nil, p.damaged("an element is of no known kind")
			}
		}
		if start+pos != end || keyLen == 0 || end+keyLen+valueLen > uint64(len(p.data)) {
			return nil, p.damaged("an element is not where it must be")
		}
		el.key, el.value = p.data[end:end+keyLen], p.data[end+keyLen:end+keyLen+valueLen]
		els[i], end = el, end+keyLen+valueLen
	}
	rest := uint64(len(p.data)) - end // old versions of bbolt add a page to what fills the last one
	if rest > p.size || rest == p.size && (end%p.size > 0 || p.size == 1) {
		return nil, p.damaged("more pages than its elements need")
	}
	return els, nil
}

// below returns the next key after the i-th of els, or high. The i-th key, and all keys of
// its child, are below that.
func below(els []element, i int, high []byte) []byte {
	if i+1 < len(els) {
		return els[i+1].key
	}
	return high
}
