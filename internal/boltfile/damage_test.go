package boltfile

import (
	"bytes"
	"encoding/binary"
	"errors"
	"testing"

	"go.etcd.io/bbolt"
)

// anatomy is the bytes of a sound file, and where its pages are.
type anatomy struct {
	t    *testing.T
	file []byte
	meta Meta
}

func dissect(t *testing.T, file []byte) *anatomy {
	t.Helper()
	return &anatomy{t, bytes.Clone(file), metasOf(t, file).Newest}
}

func (a *anatomy) page(id uint64) []byte { return a.file[id*a.meta.PageSize:][:a.meta.PageSize] }

func (a *anatomy) elements(p []byte) []element {
	a.t.Helper()
	size := a.meta.PageSize * uint64(1+binary.NativeEndian.Uint32(p[pageOverflow:]))
	whole := page{kind: kindOf(p), size: a.meta.PageSize, data: p[:size:size]}
	els, err := whole.elements(nil, nil, nil)
	if err != nil {
		a.t.Fatal(err)
	}
	return els
}

func (a *anatomy) root() []byte { return a.page(a.meta.Root) }

// bucket returns the value of a bucket in the root page.
func (a *anatomy) bucket(name string) []byte {
	for _, el := range a.elements(a.root()) {
		if string(el.key) == name {
			return el.value
		}
	}
	a.t.Fatalf("no bucket %q", name)
	return nil
}

// branch returns the root page of the told bucket.
func (a *anatomy) branch() []byte { return a.page(binary.NativeEndian.Uint64(a.bucket(told))) }

// leaf returns the second page of records.
func (a *anatomy) leaf() []byte { return a.page(a.elements(a.branch())[1].child) }

func (a *anatomy) free() []byte { return a.page(a.meta.Freelist) }

func (a *anatomy) setMeta(at int, value uint64) {
	setMeta(a.file, int(a.meta.PageSize), int(a.meta.Tx%2), at, value)
}

func kindOf(p []byte) uint16 { return binary.NativeEndian.Uint16(p[pageFlags:]) }

// number returns the place of the n-th number of 64 bits behind p's header.
func number(p []byte, n int) []byte { return p[pageHeader+8*n:][:8] }

func count(p []byte) int { return int(binary.NativeEndian.Uint16(p[pageCount:])) }

func setCount(p []byte, n int) { binary.NativeEndian.PutUint16(p[pageCount:], uint16(n)) }

// lastElement returns the last element of a leaf: flags, position, key length and
// value length, of 32 bits each.
func lastElement(p []byte) []byte { return p[pageHeader+(count(p)-1)*elementLen:][:elementLen] }

func add32(b []byte, n int) {
	binary.NativeEndian.PutUint32(b, binary.NativeEndian.Uint32(b)+uint32(n))
}

func exchange(a, b []byte) {
	was := bytes.Clone(a)
	copy(a, b)
	copy(b, was)
}

// damages break one rule of bbolt's pages each.
func damages() map[string]func(a *anatomy) {
	order := binary.NativeEndian
	return map[string]func(a *anatomy){
		"root outside of the file":   func(a *anatomy) { a.setMeta(atRoot, a.meta.Pages) },
		"root is a meta page":        func(a *anatomy) { a.setMeta(atRoot, 0) },
		"free list is a meta page":   func(a *anatomy) { a.setMeta(atFreelist, 1) },
		"free list far outside":      func(a *anatomy) { a.setMeta(atFreelist, 1<<63) },
		"no pages":                   func(a *anatomy) { a.setMeta(atPages, 0) },
		"free list is a leaf":        func(a *anatomy) { order.PutUint16(a.free()[pageFlags:], leafPage) },
		"free list too long":         func(a *anatomy) { setCount(a.free(), 0xFFFE) },
		"free list far too long":     func(a *anatomy) { setCount(a.free(), 0xFFFF); order.PutUint64(number(a.free(), 0), 1<<61) },
		"free list out of order":     func(a *anatomy) { exchange(number(a.free(), 0), number(a.free(), 1)) },
		"page free twice":            func(a *anatomy) { copy(number(a.free(), 1), number(a.free(), 0)) },
		"last of all numbers free":   func(a *anatomy) { order.PutUint64(number(a.free(), count(a.free())-1), 1<<64-1) },
		"page of nothing":            func(a *anatomy) { setCount(a.free(), count(a.free())-1) },
		"free page in use":           func(a *anatomy) { copy(number(a.free(), 0), a.bucket(told)); setCount(a.free(), 1) },
		"meta page free":             func(a *anatomy) { order.PutUint64(number(a.free(), 0), 1) },
		"page is another":            func(a *anatomy) { order.PutUint64(a.leaf(), 1) },
		"page of no known kind":      func(a *anatomy) { order.PutUint16(a.leaf()[pageFlags:], 0x40) },
		"overflow into another page": func(a *anatomy) { order.PutUint32(a.leaf()[pageOverflow:], 1) },
		"overflow out of the file":   func(a *anatomy) { order.PutUint32(a.leaf()[pageOverflow:], 1<<31) },
		"branch without children":    func(a *anatomy) { setCount(a.branch(), 0) },
		"branch: keys exchanged": func(a *anatomy) {
			els := a.elements(a.branch())
			exchange(els[1].key, els[2].key)
		},
		"branch: children exchanged": func(a *anatomy) {
			b := a.branch()[pageHeader:]
			exchange(b[elementLen+8:][:8], b[2*elementLen+8:][:8])
		},
		"branch: child twice": func(a *anatomy) {
			b := a.branch()[pageHeader:]
			copy(b[elementLen+8:][:8], b[2*elementLen+8:][:8])
		},
		"branch: its own child":                 func(a *anatomy) { copy(a.branch()[pageHeader+8:][:8], a.branch()[:8]) },
		"branch: key above its child's first":   func(a *anatomy) { a.elements(a.branch())[1].key[12]++ },
		"leaf: empty":                           func(a *anatomy) { setCount(a.leaf(), 0) },
		"leaf: keys exchanged":                  func(a *anatomy) { els := a.elements(a.leaf()); exchange(els[0].key, els[1].key) },
		"leaf: equal keys":                      func(a *anatomy) { els := a.elements(a.leaf()); copy(els[2].key, els[1].key) },
		"leaf: first key above what its branch": func(a *anatomy) { a.elements(a.leaf())[0].key[12]++ },
		"leaf: key of the next page": func(a *anatomy) {
			els := a.elements(a.leaf())
			copy(els[len(els)-1].key, a.elements(a.branch())[2].key)
		},
		"leaf: more elements than fit":     func(a *anatomy) { setCount(a.leaf(), 0xFFFF) },
		"leaf: element of no known kind":   func(a *anatomy) { order.PutUint32(lastElement(a.leaf()), 2) },
		"leaf: gap before a key":           func(a *anatomy) { add32(lastElement(a.leaf())[4:], 1) },
		"leaf: no key":                     func(a *anatomy) { add32(lastElement(a.leaf())[8:], -13); add32(lastElement(a.leaf())[12:], 13) },
		"leaf: value past its page":        func(a *anatomy) { add32(lastElement(a.leaf())[12:], 4096) },
		"leaf: value of 4 GiB":             func(a *anatomy) { order.PutUint32(lastElement(a.leaf())[12:], 1<<32-1) },
		"bucket too short":                 func(a *anatomy) { add32(lastElement(a.root())[12:], -1) },
		"bucket too long":                  func(a *anatomy) { order.PutUint64(a.bucket("inline"), 3) },
		"bucket is small and has no leaf":  func(a *anatomy) { clear(a.bucket(told)[:8]) },
		"small bucket is a branch":         func(a *anatomy) { order.PutUint16(a.bucket("inline")[bucketLen+pageFlags:], branchPage) },
		"small bucket with more than fits": func(a *anatomy) { setCount(a.bucket("inline")[bucketLen:], 9) },
		"small bucket with less than fits": func(a *anatomy) { setCount(a.bucket("inline")[bucketLen:], 0) },
		"small bucket has a number":        func(a *anatomy) { order.PutUint64(a.bucket("inline")[bucketLen:], 5) },
		"small bucket has overflow":        func(a *anatomy) { order.PutUint32(a.bucket("inline")[bucketLen+pageOverflow:], 1) },
		"small bucket holds a bucket":      func(a *anatomy) { order.PutUint32(a.bucket("inline")[bucketLen+pageHeader:], bucketFlag) },
		"record that is a bucket":          func(a *anatomy) { order.PutUint32(lastElement(a.leaf()), bucketFlag) },
		"bucket that is a record":          func(a *anatomy) { order.PutUint32(lastElement(a.root()), 0) },
		"first bucket that is a record":    func(a *anatomy) { order.PutUint32(a.root()[pageHeader:], 0) },
	}
}

// TestWalkRefuses: each damage is found, and none of them makes Get panic or loop.
func TestWalkRefuses(t *testing.T) {
	t.Parallel()
	good := build(t, bbolt.Options{}, fill("inline", 0, 3, 40), fill(told, 0, 600, 40), fill(told, 0, 600, 41), fill("zzz", 0, 200, 90))
	if _, err := walkedBytes(good); err != nil {
		t.Fatal(err)
	}
	for name, damage := range damages() {
		t.Run(name, func(t *testing.T) {
			a := dissect(t, good)
			damage(a)
			if bytes.Equal(a.file, good) {
				t.Fatal("nothing was damaged")
			}
			if _, err := walkedBytes(a.file); !errors.Is(err, ErrDamaged) {
				t.Errorf("%v; want ErrDamaged", err)
			}
			m, err := ReadMetas(bytes.NewReader(a.file), int64(len(a.file)))
			if err != nil {
				t.Fatal(err)
			}
			for n := 0; n <= 600; n += 20 {
				value, err := Get(bytes.NewReader(a.file), m.Newest, told, key(n))
				if err != nil && !errors.Is(err, ErrDamaged) && err != ErrNoBucket {
					t.Fatalf("Get: %x, %v", value, err)
				}
			}
		})
	}
}

// TestLongFreeList: where there are 65,535 free pages or more, their number does not fit
// in its place.
func TestLongFreeList(t *testing.T) {
	good := build(t, bbolt.Options{PageSize: 1024}, fill(told, 0, 3000, 90), remove(told, 0, 3000, 1), fill(told, 0, 3, 3))
	a := dissect(t, good)
	free, n := a.file[a.meta.Freelist*a.meta.PageSize:], count(a.free())
	if n < 200 {
		t.Fatalf("%d free pages", n)
	}
	copy(free[pageHeader+8:], bytes.Clone(free[pageHeader:][:8*n]))
	binary.NativeEndian.PutUint64(number(free, 0), uint64(n))
	setCount(free, 0xFFFF)
	if _, err := walkedBytes(a.file); err != nil {
		t.Error(err)
	}
	binary.NativeEndian.PutUint64(number(free, 0), uint64(n-1))
	if _, err := walkedBytes(a.file); !errors.Is(err, ErrDamaged) {
		t.Errorf("one page less: %v", err)
	}
}
