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
	metaPages    = 40 // how many pages the file has
	metaTx       = 48
	metaChecksum = 56
)

type meta struct {
	pageSize, pages, tx uint64
}

// preflight refuses, with ErrCorrupt, a file that is not whole as far as its two
// meta pages tell. Both must be sound: with one lost, bbolt would silently go
// back by a transaction, and a token that was ended last would live. It reads the
// file without mapping it and before it is locked, so it looks again before it
// believes in damage: another process may have been writing.
func preflight(f *os.File) error {
	var err error
	for range 3 {
		if err = checkMetas(f); err == nil {
			return nil
		}
	}
	return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
}

func checkMetas(f *os.File) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if info.Size() == 0 {
		return fmt.Errorf("the file is empty")
	}
	first, err := readMeta(f, 0)
	if err != nil {
		return err
	}
	second, err := readMeta(f, int64(first.pageSize))
	if err != nil {
		return err
	}
	newest := first
	if second.tx > first.tx {
		newest = second
	}
	switch {
	case first.pageSize != second.pageSize, first.tx+1 != second.tx && second.tx+1 != first.tx:
		return fmt.Errorf("the two meta pages contradict each other")
	case newest.pages > uint64(info.Size())/newest.pageSize:
		return fmt.Errorf("the file has been cut short: %d bytes of %d pages", info.Size(), newest.pages)
	}
	return nil
}

// readMeta reads the meta page that begins at off.
func readMeta(f *os.File, off int64) (meta, error) {
	var b [metaLen]byte
	if _, err := f.ReadAt(b[:], off+pageHeader); err != nil {
		if err == io.EOF {
			err = fmt.Errorf("the file has been cut short")
		}
		return meta{}, err
	}
	order := binary.NativeEndian
	sum := fnv.New64a()
	sum.Write(b[:metaChecksum])
	m := meta{
		pageSize: uint64(order.Uint32(b[metaPageSize:])),
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
