package bolt

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/fnv"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// anatomy is the bytes of a sound file, and where its pages are.
type anatomy struct {
	t    *testing.T
	file []byte
	meta meta // the one that counts
}

func dissect(t *testing.T, file []byte) *anatomy {
	t.Helper()
	path := filepath.Join(t.TempDir(), "sound.db")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	m, err := checkMetas(f)
	if err != nil {
		t.Fatal(err)
	}
	return &anatomy{t, bytes.Clone(file), m}
}

func (a *anatomy) page(id uint64) []byte { return a.file[id*a.meta.pageSize:][:a.meta.pageSize] }

func (a *anatomy) elements(p []byte, leaf bool) []element {
	a.t.Helper()
	els, err := elements(nil, p, leaf)
	if err != nil {
		a.t.Fatal(err)
	}
	return els
}

func (a *anatomy) root() []byte { return a.page(a.meta.root) }

// bucket returns the value of a bucket in the root page.
func (a *anatomy) bucket(name []byte) []byte {
	for _, el := range a.elements(a.root(), true) {
		if bytes.Equal(el.key, name) {
			return el.value
		}
	}
	a.t.Fatalf("no bucket %q", name)
	return nil
}

// branch returns the root page of the tokens.
func (a *anatomy) branch() []byte {
	return a.page(binary.NativeEndian.Uint64(a.bucket(tokensBucket)))
}

// leaf returns the second page of tokens.
func (a *anatomy) leaf() []byte { return a.page(a.elements(a.branch(), false)[1].child) }

func (a *anatomy) free() []byte { return a.page(a.meta.freelist) }

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

// setMeta changes a number in a meta page and mends its checksum.
func (a *anatomy) setMeta(page uint64, at int, value uint64) {
	m := a.page(page)[pageHeader:][:metaLen]
	if at < metaRoot {
		binary.NativeEndian.PutUint32(m[at:], uint32(value))
	} else {
		binary.NativeEndian.PutUint64(m[at:], value)
	}
	sum := fnv.New64a()
	sum.Write(m[:metaChecksum])
	binary.NativeEndian.PutUint64(m[metaChecksum:], sum.Sum64())
}

// TestPreflightRefuses breaks one rule of bbolt's pages at a time. Each is
// ErrCorrupt, and leaves neither a lock nor the file open.
func TestPreflightRefuses(t *testing.T) {
	t.Parallel()
	path, good := makeFile(t, 400)
	order := binary.NativeEndian
	for _, row := range []struct {
		name   string
		damage func(a *anatomy)
	}{
		{"metas two transactions apart", func(a *anatomy) { a.setMeta(a.meta.tx%2, metaTx, a.meta.tx+2) }},
		{"metas of the same transaction", func(a *anatomy) { a.setMeta((a.meta.tx+1)%2, metaTx, a.meta.tx) }},
		{"metas of two versions", func(a *anatomy) { a.setMeta(a.meta.tx%2, metaPageSize-4, metaVersion+1) }},
		{"metas of two page sizes", func(a *anatomy) { a.setMeta(1, metaPageSize, 2*a.meta.pageSize) }},
		{"more pages than the file has", func(a *anatomy) { a.setMeta(a.meta.tx%2, metaPages, uint64(len(a.file))) }},
		{"root outside of the file", func(a *anatomy) { a.setMeta(a.meta.tx%2, metaRoot, a.meta.pages) }},
		{"root is a meta page", func(a *anatomy) { a.setMeta(a.meta.tx%2, metaRoot, 0) }},
		{"free list is a leaf", func(a *anatomy) { order.PutUint16(a.free()[pageFlags:], leafPage) }},
		{"free list too long", func(a *anatomy) { setCount(a.free(), 0xFFFE) }},
		{"free list far too long", func(a *anatomy) { setCount(a.free(), 0xFFFF); order.PutUint64(number(a.free(), 0), 1<<61) }},
		{"free list out of order", func(a *anatomy) { exchange(number(a.free(), 0), number(a.free(), 1)) }},
		{"page free twice", func(a *anatomy) { copy(number(a.free(), 1), number(a.free(), 0)) }},
		{"page of nothing", func(a *anatomy) { setCount(a.free(), count(a.free())-1) }},
		{"free page in use", func(a *anatomy) {
			copy(number(a.free(), 0), a.bucket(tokensBucket))
			setCount(a.free(), 1)
		}},
		{"meta page free", func(a *anatomy) { order.PutUint64(number(a.free(), 0), 1) }},
		{"page says that it is another", func(a *anatomy) { order.PutUint64(a.leaf(), 1) }},
		{"page of no known kind", func(a *anatomy) { order.PutUint16(a.leaf()[pageFlags:], 0x40) }},
		{"overflow into another page", func(a *anatomy) { order.PutUint32(a.leaf()[pageOverflow:], 1) }},
		{"overflow out of the file", func(a *anatomy) { order.PutUint32(a.leaf()[pageOverflow:], 1<<31) }},
		{"branch without children", func(a *anatomy) { setCount(a.branch(), 0) }},
		{"branch: two keys exchanged", func(a *anatomy) {
			els := a.elements(a.branch(), false)
			exchange(els[1].key, els[2].key)
		}},
		{"branch: two children exchanged", func(a *anatomy) {
			b := a.branch()[pageHeader:]
			exchange(b[elementLen+8:][:8], b[2*elementLen+8:][:8])
		}},
		{"branch: one child twice", func(a *anatomy) {
			b := a.branch()[pageHeader:]
			copy(b[elementLen+8:][:8], b[2*elementLen+8:][:8])
		}},
		{"branch: key above its child's first", func(a *anatomy) { a.elements(a.branch(), false)[1].key[15]++ }},
		{"leaf: empty", func(a *anatomy) { setCount(a.leaf(), 0) }},
		{"leaf: two keys exchanged", func(a *anatomy) {
			els := a.elements(a.leaf(), true)
			exchange(els[0].key, els[1].key)
		}},
		{"leaf: first key above what its branch has", func(a *anatomy) { a.elements(a.leaf(), true)[0].key[15]++ }},
		{"leaf: key of the next page", func(a *anatomy) {
			els := a.elements(a.leaf(), true)
			copy(els[len(els)-1].key, a.elements(a.branch(), false)[2].key)
		}},
		{"leaf: more elements than fit", func(a *anatomy) { setCount(a.leaf(), 0xFFFF) }},
		{"leaf: element of no known kind", func(a *anatomy) { order.PutUint32(lastElement(a.leaf()), 2) }},
		{"leaf: gap before a key", func(a *anatomy) { add32(lastElement(a.leaf())[4:], 1) }},
		{"leaf: no key", func(a *anatomy) {
			add32(lastElement(a.leaf())[8:], -16)
			add32(lastElement(a.leaf())[12:], 16)
		}},
		{"leaf: value past its page", func(a *anatomy) { add32(lastElement(a.leaf())[12:], int(a.meta.pageSize)) }},
		{"bucket too short", func(a *anatomy) { add32(lastElement(a.root())[12:], -1) }},
		{"bucket is small and has no page", func(a *anatomy) { clear(a.bucket(tokensBucket)[:8]) }},
		{"small bucket is a branch", func(a *anatomy) { order.PutUint16(a.bucket(metaBucket)[bucketLen+pageFlags:], branchPage) }},
		{"small bucket with more than fits", func(a *anatomy) { setCount(a.bucket(metaBucket)[bucketLen:], 9) }},
		{"record that says it is a bucket", func(a *anatomy) { order.PutUint32(lastElement(a.leaf()), bucketFlag) }},
	} {
		t.Run(row.name, func(t *testing.T) {
			a := dissect(t, good)
			row.damage(a)
			if bytes.Equal(a.file, good) {
				t.Fatal("nothing was damaged")
			}
			if err := os.WriteFile(path, a.file, 0o600); err != nil {
				t.Fatal(err)
			}
			refused(t, path, storage.ErrCorrupt)
			if err := os.WriteFile(path, good, 0o600); err != nil {
				t.Fatal(err)
			}
			s, err := Open(path, &Options{LockTimeout: time.Millisecond})
			if err != nil {
				t.Fatalf("the sound file afterwards: %v", err)
			}
			s.Close()
		})
	}
}

// TestLongFreeList: where there are 65,535 free pages or more, their number does
// not fit in its place.
func TestLongFreeList(t *testing.T) {
	path, good := makeFile(t, 400)
	a := dissect(t, good)
	free, n := a.free(), count(a.free())
	copy(free[pageHeader+8:], bytes.Clone(free[pageHeader:][:8*n]))
	binary.NativeEndian.PutUint64(number(free, 0), uint64(n))
	setCount(free, 0xFFFF)
	if err := os.WriteFile(path, a.file, 0o600); err != nil {
		t.Fatal(err)
	}
	s, err := Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for n := range 400 {
		if got, err := s.Get(context.Background(), record(n).ID); err != nil || !got.Equal(record(n)) {
			t.Fatalf("record %d: %+v, %v", n, got, err)
		}
	}
}
