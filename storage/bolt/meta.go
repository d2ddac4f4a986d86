package bolt

import (
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
	"os"
)

// bbolt's file begins with two meta pages, written in turn, in the byte order of
// the machine. Each is a page header and this.
const (
	pageHeader   = 16
	metaLen      = 64 // magic, version, page size, flags, root, sequence, freelist, pages, transaction, checksum
	metaMagic    = 0xED0CDAED
	metaVersion  = 2
	metaPageSize = 8
	metaRoot     = 16 // the root page of everything
	metaFreelist = 32 // where the list of free pages is
	metaPages    = 40 // how many pages the file has
	metaTx       = 48
	metaChecksum = 56

	minPageSize = 1 << 10
	maxPageSize = 1 << 16
)

type meta struct {
	pageSize, root, freelist, pages, tx uint64

	mirrored bool // the other one leads to the same
	inTurn   bool // it is where bbolt writes that of its transaction; in a copy it may not be
}

// noFreelist stands in a meta page for a list that was not written. Without one,
// bbolt reads every page as it opens the file, in a goroutine where a panic cannot
// be caught, and then writes the list. Ours always has one.
const noFreelist = 1<<64 - 1

// errMetaLost: one of the two meta pages is sound and the other is not, or is out of
// date.
var errMetaLost = errors.New("one of its two meta pages is lost; look at the disk; " +
	"Options.Repair opens the file by the other one, and nothing that was acknowledged is missing")

var errContradict = errors.New("the two meta pages contradict each other")

// checkMetas returns the meta page that counts, and errMetaLost with it if the
// other one is damaged or out of date: then this may be the one before the last, and
// bbolt would go on from it without a word.
func checkMetas(f *os.File) (meta, error) {
	info, err := f.Stat()
	if err != nil {
		return meta{}, err
	}
	if info.Size() == 0 {
		return meta{}, errors.New("the file is empty")
	}
	first, err := readMeta(f, 0)
	var second meta
	if err == nil {
		second, err = readMeta(f, int64(first.pageSize))
		if err != nil {
			err = fmt.Errorf("%w: %w", errMetaLost, err)
		}
	} else if second = findSecond(f); second.pageSize != 0 {
		err = fmt.Errorf("%w: %w", errMetaLost, err)
	}
	newest := first
	if second.tx > first.tx || first.pageSize == 0 {
		newest = second
	}
	switch {
	case newest.pageSize == 0:
		return meta{}, err
	case err == nil && (first.pageSize != second.pageSize || first.tx == second.tx):
		return meta{}, errContradict
	case newest.pages > uint64(info.Size())/newest.pageSize:
		return meta{}, fmt.Errorf("the file has been cut short: %d bytes of %d pages", info.Size(), newest.pages)
	}
	if err == nil && !neighbours(first.tx, second.tx) { // one of them is what it was some time ago
		err = fmt.Errorf("%w: %w", errMetaLost, errContradict)
	}
	newest.inTurn = (newest == second) == (newest.tx%2 == 1)
	newest.mirrored = err == nil && first.root == second.root && first.freelist == second.freelist && first.pages == second.pages
	return newest, err
}

// findSecond returns the second meta page where the first, which says how long a
// page is, is lost; or nothing.
func findSecond(f *os.File) meta {
	for size := uint64(minPageSize); size <= maxPageSize; size *= 2 {
		if m, err := readMeta(f, int64(size)); err == nil && m.pageSize == size {
			return m
		}
	}
	return meta{}
}

// neighbours reports whether two meta pages can be of one file: bbolt writes them in
// turn, even transactions first. A copy that bbolt makes has the later one first
// whichever it is, so the next one may overwrite it.
func neighbours(first, second uint64) bool {
	return first+1 == second || second+1 == first || second+2 == first && first%2 == 0
}

// readMeta reads the meta page that begins at off.
func readMeta(f io.ReaderAt, off int64) (meta, error) {
	var b [metaLen]byte
	if _, err := f.ReadAt(b[:], off+pageHeader); err != nil {
		if err == io.EOF {
			err = errors.New("not a bbolt file, or cut short")
		}
		return meta{}, err
	}
	order := binary.NativeEndian
	m := meta{
		pageSize: uint64(order.Uint32(b[metaPageSize:])),
		root:     order.Uint64(b[metaRoot:]),
		freelist: order.Uint64(b[metaFreelist:]),
		pages:    order.Uint64(b[metaPages:]),
		tx:       order.Uint64(b[metaTx:]),
	}
	switch {
	case order.Uint32(b[:]) != metaMagic, order.Uint32(b[4:]) != metaVersion:
		return meta{}, fmt.Errorf("not a bbolt file, or its meta page at %d is lost", off)
	case metaSum(b[:]) != order.Uint64(b[metaChecksum:]),
		m.pageSize < minPageSize, m.pageSize > maxPageSize, m.pageSize&(m.pageSize-1) != 0:
		return meta{}, fmt.Errorf("its meta page at %d is damaged", off)
	}
	return m, nil
}

// metaSum returns the checksum that b, the meta inside its page, must carry.
func metaSum(b []byte) uint64 {
	sum := fnv.New64a()
	sum.Write(b[:metaChecksum])
	return sum.Sum64()
}

// mirror makes the two meta pages of f, whose newest is that of transaction tx, say
// the same, the older one as the transaction before: whichever is lost later, the
// other one leads to everything. It is durable when mirror returns.
//
// This is what bbolt itself writes when it copies a file, and no page that the
// older meta page led to is needed by anyone but a reader who began before.
func mirror(f *os.File, pageSize int, tx uint64) error {
	size := int64(pageSize)
	page := make([]byte, pageSize)
	if _, err := f.ReadAt(page, int64(tx%2)*size); err != nil {
		return err
	}
	order := binary.NativeEndian
	m := page[pageHeader:][:metaLen]
	if order.Uint64(m[metaTx:]) != tx || metaSum(m) != order.Uint64(m[metaChecksum:]) {
		return errors.New("the newest meta page is not where it was written")
	}
	order.PutUint64(page, (tx+1)%2)
	order.PutUint64(m[metaTx:], tx-1)
	order.PutUint64(m[metaChecksum:], metaSum(m))
	if _, err := f.WriteAt(page, int64((tx+1)%2)*size); err != nil {
		return err
	}
	return syncData(f)
}
