package bolt

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
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

// inOrder says whether the keys of els ascend, from low and to below high, where
// those are given. The first key is low itself: bbolt finds a child in its branch by
// it when it writes, and writes a tree with a loop where it does not.
func inOrder(els []element, low, high []byte) error {
	if low != nil && len(els) > 0 && !bytes.Equal(els[0].key, low) {
		return errors.New("its first key is not the one that its branch knows it by")
	}
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

func (w *walker) elements(depth int, p []byte, leaf bool) ([]element, error) {
	l := w.level(depth)
	els, err := elements(l.elements, p, leaf)
	if err == nil {
		l.elements = els
	}
	return els, err
}

// elements returns the entries of p, in the memory of old if they fit. Their keys
// and values must be packed behind them without a gap.
func elements(old []element, p []byte, leaf bool) ([]element, error) {
	order := binary.NativeEndian
	count := int(order.Uint16(p[pageCount:]))
	if pageHeader+count*elementLen > len(p) {
		return nil, errors.New("more elements than fit")
	}
	els := slices.Grow(old[:0], count)[:count]
	clear(els)
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
