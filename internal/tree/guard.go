package tree

import (
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/seed-55daa01a/lapse/storage"
)

// guard runs f, which calls only bbolt and this package, and returns a panic of f as an error. The
// error is ErrUnavailable where the map of the file could not be read, and otherwise ErrCorrupt:
// bbolt has met two pages that contradict each other.
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
