package boltfile

import (
	"cmp"
	"encoding/binary"
	"errors"
	"hash/fnv"
	"io"
	"math"
	"math/bits"
)

const (
	metaLen, magic, version  = 64, 0xED0CDAED, 2
	minPageSize, maxPageSize = 1 << 10, 1 << 16
)

// Meta is the state of a file after one transaction.
type Meta struct {
	PageSize uint64 // in bytes, a power of two from 1 KiB to 64 KiB
	Root     uint64 // the page where the tree of buckets begins
	Freelist uint64 // the page where the list of free pages begins, see HasFreelist
	Pages    uint64 // how many pages the file has, the two meta pages included
	Tx       uint64 // the number of the transaction
}

// HasFreelist reports whether the file holds the list of its free pages. There is no list
// after a commit with NoFreelistSync, and after `bbolt surgery freelist abandon`.
func (m Meta) HasFreelist() bool { return m.Freelist != math.MaxUint64 }

// Metas are the two meta pages of a file. bbolt opens the file by Newest, too.
type Metas struct {
	Newest Meta
	Older  Meta  // the state before Newest, or Newest itself; zero if Lost is not nil
	Lost   error // why the other meta page is of no use: damaged, or out of date; wraps ErrDamaged
}

// ReadMetas reads the meta pages of f, which is size bytes long.
//
// If one of them is of no use, Lost says why, and Newest is the other one. Then Newest may
// lack the last transaction, and bbolt would open the file by it without an error. Every
// pair that bbolt leaves is sound: pages written alternately, a copy by Tx.WriteTo and the
// commits after that, and two equal pages, as after `bbolt surgery revert-meta-page`.
//
// The errors are ErrEmpty, ErrForeign, ErrDamaged (both pages are lost, they contradict
// each other, they are of the other byte order, the file is cut short) and those of
// reading.
func ReadMetas(f io.ReaderAt, size int64) (Metas, error) {
	first, firstLost, failed := readMeta(f, 0)
	second, secondLost, failedToo := secondMeta(f, first.PageSize)
	m, err := choose(first, second, firstLost, secondLost)
	n, err := m.Newest, cmp.Or(failed, failedToo, err)
	switch {
	case size <= 0:
		err = ErrEmpty
	case err != nil:
	case n.PageSize < minPageSize, n.PageSize > maxPageSize, bits.OnesCount64(n.PageSize) != 1:
		err = damaged("its pages are %d bytes long", n.PageSize)
	case n.Tx >= math.MaxUint64-1: // bbolt would count on from 0, and never find that
		err = damaged("no transaction can follow that of its meta page")
	case n.Pages > min(uint64(size), math.MaxInt)/n.PageSize:
		err = damaged("it is cut short, or too large for this machine: %d pages of %d bytes in %d bytes", n.Pages, n.PageSize, size)
	default:
		return m, nil
	}
	return Metas{}, err
}

// choose decides which of the two meta pages counts, and whether the other is of use.
func choose(first, second metaPage, firstLost, secondLost string) (Metas, error) {
	newest, older := first, second
	if firstLost != "" || second.Tx > first.Tx {
		newest, older = second, first
	}
	m := Metas{Newest: newest.meta()}
	switch {
	case firstLost == noMagic && secondLost == noMagic:
		return m, ErrForeign
	case firstLost != "" && secondLost != "":
		return m, damaged("both meta pages are lost: the first %s, the second %s", firstLost, secondLost)
	case firstLost != "" || secondLost != "":
		m.Lost = damaged("a meta page is lost: it %s", firstLost+secondLost)
	case first.PageSize != second.PageSize, first.Tx == second.Tx && first != second:
		return m, damaged("its meta pages contradict each other")
	case !neighbours(first.Tx, second.Tx), older.Pages > newest.Pages: // a file never loses pages
		m.Lost = damaged("a meta page is out of date: transaction %d of %d pages beside %d of %d", older.Tx, older.Pages, newest.Tx, newest.Pages)
	default:
		m.Older = older.meta()
	}
	return m, nil
}

// neighbours reports whether meta pages of these two transactions can be in one file. bbolt
// writes the pages alternately, an even transaction into the first page. A copy by
// Tx.WriteTo always has the later transaction in the first page, so the next transaction
// may overwrite that page. Surgery makes both pages equal.
func neighbours(first, second uint64) bool {
	return first+1 == second || first == second || first == second+1 || first == second+2 && first%2 == 0
}

// metaPage is the content of a meta page, behind the page's header. Its numbers are in
// the byte order of the machine that wrote it.
type metaPage struct {
	Magic, Version, PageSize, Flags               uint32
	Root, Sequence, Freelist, Pages, Tx, Checksum uint64
}

func (m metaPage) meta() Meta {
	return Meta{uint64(m.PageSize), m.Root, m.Freelist, m.Pages, m.Tx}
}

// noMagic is why a page is of no use that does not begin with the magic number of bbolt.
const noMagic = "has no mark of bbolt"

// readMeta reads the meta page that begins at off. lost says why the page is of no use,
// and is empty exactly if bbolt would use the page. Like bbolt.Open, readMeta does not look
// at the header of the page. Only bbolt's Tx.Check looks at it, and panics if it is wrong.
func readMeta(f io.ReaderAt, off uint64) (m metaPage, lost string, err error) {
	var b [metaLen]byte
	short := readAt(f, b[:], int64(off)+pageHeader)
	if short != nil && !errors.Is(short, ErrDamaged) {
		return metaPage{}, "", short
	}
	sum := fnv.New64a()
	sum.Write(b[:metaLen-8]) // up to the checksum
	_, err = binary.Decode(b[:], binary.NativeEndian, &m)
	switch {
	case m.Magic == bits.ReverseBytes32(magic):
		lost = "is of the other byte order, and can be read by a machine like the one that wrote it"
	case m.Magic != magic:
		lost = noMagic
	case m.Version != version, m.Checksum != sum.Sum64():
		lost = "does not match its checksum, or is of another version of the format"
	default:
		return m, "", err
	}
	return metaPage{}, lost, err
}

// secondMeta reads the second meta page. pageSize is the length of a page, which the first
// meta page says. If the first one is lost, pageSize is 0, and secondMeta looks at every
// place where the second one may be.
func secondMeta(f io.ReaderAt, pageSize uint32) (m metaPage, lost string, err error) {
	if pageSize != 0 {
		return readMeta(f, uint64(pageSize))
	}
	lost = noMagic
	for size := uint64(minPageSize); size <= maxPageSize; size *= 2 {
		m, why, err := readMeta(f, size)
		if err != nil || why == "" && uint64(m.PageSize) == size {
			return m, "", err
		}
		if lost == noMagic && why != "" {
			lost = why
		}
	}
	return metaPage{}, lost, nil
}

// Head is the content of both meta pages as bytes. If two Heads, read at different times,
// are equal, no transaction has been committed between the times.
type Head [2][metaLen]byte

// ReadHead reads the meta pages of f, whose pages are pageSize bytes long, and does not
// check them. The errors are ErrDamaged, if the file is cut short, and those of reading.
func ReadHead(f io.ReaderAt, pageSize uint64) (h Head, err error) {
	if err = readAt(f, h[0][:], pageHeader); err == nil {
		err = readAt(f, h[1][:], int64(pageSize)+pageHeader)
	}
	return h, err
}
