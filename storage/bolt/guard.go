package bolt

import (
	"errors"
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
			err = fmt.Errorf("%w: %w: %v", storage.ErrCorrupt, errPanicked, p)
		}
	}()
	return f()
}

var errPanicked = errors.New("bbolt broke off")

// guardEdge is guard for an f that begins or ends a transaction. A panic there
// leaves bbolt holding locks that nobody gives back, so it is asked nothing more.
func (t *tree) guardEdge(f func() error) error {
	err := guard(f)
	if errors.Is(err, errPanicked) {
		t.broken, t.cause = true, err
	}
	return err
}
