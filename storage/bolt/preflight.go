package bolt

import (
	"encoding/binary"
	"fmt"
	"hash/fnv"
	"io"
	"os"

	"github.com/seed-55daa01a/lapse/storage"
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
)

type meta struct {
	pageSize, root, freelist, pages, tx uint64
}

// noFreelist stands in a meta page for a list that was not written. Without one,
// bbolt reads every page as it opens the file, in a goroutine where a panic cannot
// be caught, and then writes the list. Ours always has one.
const noFreelist = 1<<64 - 1

// preflight looks at f, without mapping it, for what would make bbolt panic, loop
// or take one thing for another, and refuses it with ErrCorrupt; ErrNotStore if f
// cannot be ours. It takes the file's lock for that and keeps it. Where another
// process has the lock, or it cannot be taken so early, it looks at the meta pages
// alone and reports false.
func preflight(f *os.File) (bool, error) {
	var m meta
	var err error
	for range 3 { // another process may be writing
		if m, err = checkMetas(f); err == nil {
			break
		}
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	if m.freelist == noFreelist {
		return false, fmt.Errorf("%w: it has no list of free pages", ErrNotStore)
	}
	locked, err := tryLock(f)
	if err != nil || !locked {
		return false, err
	}
	return look(f)
}

// look reads all of f, which is locked. It reports true if it could.
func look(f *os.File) (bool, error) {
	m, err := checkMetas(f)
	if err == nil {
		err = walk(f, m)
	}
	if err != nil {
		return false, fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	return true, nil
}

// checkMetas returns the meta page that counts. Both must be sound: with one lost,
// bbolt would silently go back by a transaction, and a token that was ended last
// would live.
func checkMetas(f *os.File) (meta, error) {
	info, err := f.Stat()
	if err != nil {
		return meta{}, err
	}
	if info.Size() == 0 {
		return meta{}, fmt.Errorf("the file is empty")
	}
	first, err := readMeta(f, 0)
	if err != nil {
		return meta{}, err
	}
	second, err := readMeta(f, int64(first.pageSize))
	if err != nil {
		return meta{}, err
	}
	newest := first
	if second.tx > first.tx {
		newest = second
	}
	switch {
	case first.pageSize != second.pageSize, !neighbours(first.tx, second.tx):
		return meta{}, fmt.Errorf("the two meta pages contradict each other")
	case newest.pages > uint64(info.Size())/newest.pageSize:
		return meta{}, fmt.Errorf("the file has been cut short: %d bytes of %d pages", info.Size(), newest.pages)
	}
	return newest, nil
}

// neighbours reports whether two meta pages can be of one file: bbolt writes them in
// turn, even transactions first. A copy that bbolt makes has the later one first
// whichever it is, so the next one may overwrite it.
func neighbours(first, second uint64) bool {
	return first+1 == second || second+1 == first || second+2 == first && first%2 == 0
}

// readMeta reads the meta page that begins at off.
func readMeta(f *os.File, off int64) (meta, error) {
	var b [metaLen]byte
	if _, err := f.ReadAt(b[:], off+pageHeader); err != nil {
		if err == io.EOF {
			err = fmt.Errorf("not a bbolt file, or cut short")
		}
		return meta{}, err
	}
	order := binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(b[:metaChecksum])
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
	case sum.Sum64() != order.Uint64(b[metaChecksum:]), m.pageSize < 1024, m.pageSize > 1<<16, m.pageSize&(m.pageSize-1) != 0:
		return meta{}, fmt.Errorf("its meta page at %d is damaged", off)
	}
	return m, nil
}
