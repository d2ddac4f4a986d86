package bolt

import (
	"fmt"
	"runtime/debug"

	"github.com/seed-55daa01a/lapse/storage"
)

// guard runs f, which calls nothing but bbolt and this package, and turns a panic
// into ErrCorrupt: bbolt panics when a page is not what another page says, and
// the memory map faults where the file ends too early.
func guard(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: %v", storage.ErrCorrupt, p)
		}
	}()
	return f()
}
