package tree

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/seed-55daa01a/lapse/storage"
)

// guard runs f, which calls nothing but bbolt and this package, and returns a panic of f as
// an error: ErrCorrupt where bbolt met a page that is not what another page says, and
// ErrUnavailable where the map of the file could not be read.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		switch p := recover().(type) {
		case nil:
		case interface{ Addr() uintptr }:
			err = fmt.Errorf("%w: %w: the disk could not be read", storage.ErrUnavailable, errPanicked)
		default:
			err = fmt.Errorf("%w: %w: %v", storage.ErrCorrupt, errPanicked, p)
		}
	}()
	return f()
}

var errPanicked = errors.New("bbolt broke off")
