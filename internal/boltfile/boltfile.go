// Package boltfile reads the file format of bbolt v1.5 without bbolt, so that a
// damaged file is refused before bbolt maps it into memory and panics over it.
//
// A file has two meta pages. The newest one leads to everything else: a tree of pages
// whose leaves hold the top-level buckets, and the list of free pages. ReadMetas reads the
// meta pages, Walk everything, and Get one value. The package neither writes nor locks, and
// keeps no state. If another process writes meanwhile, the functions may report damage
// that is not there: ReadHead shows whether the meta pages have changed.
package boltfile

import (
	"errors"
	"fmt"
	"io"
)

// ErrDamaged means that the bytes of the file are not those of a sound bbolt file. Every
// error of this package either wraps it, or is ErrNoBucket, or an error that a Visitor
// has returned, or an error of reading as the file returned it. A read error is never
// damage. A file that ends before the last page that its meta page counts is damaged.
var ErrDamaged = errors.New("not a sound bbolt file")

// ErrEmpty means that the file has no bytes. It wraps ErrDamaged.
var ErrEmpty = fmt.Errorf("%w: it is empty", ErrDamaged)

// ErrForeign means that neither meta page has the magic number of bbolt: another kind of
// program made the file, or both pages are lost. It wraps ErrDamaged.
var ErrForeign = fmt.Errorf("%w: neither of its meta pages has the mark of bbolt", ErrDamaged)

// ErrNoBucket means that the file has no top-level bucket of the name.
var ErrNoBucket = errors.New("no such bucket in the bbolt file")

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}

// readAt fills b with the bytes of f from off on.
func readAt(f io.ReaderAt, b []byte, off int64) error {
	n, err := f.ReadAt(b, off)
	if n == len(b) { // io.EOF may come with the last byte
		err = nil
	} else if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = damaged("it is cut short before byte %d", off+int64(len(b)))
	}
	return err
}
