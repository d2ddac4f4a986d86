package bolt

import (
	"context"
	"errors"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// Backup writes a consistent copy of the file to w, as it is once what Touch deferred
// is in it. Written to a file, the copy opens as a store; give that file mode 0600.
// The store is in use meanwhile, but the file keeps what it would free: a slow w lets
// it grow.
//
// What was ended after the copy began lives in the copy: a store that is restored
// knows nothing of it. ErrClosed, ErrUnavailable, ErrCorrupt, or the error of w: the
// copy is no good.
func (s *Store) Backup(w io.Writer) error {
	if err := s.ready(context.Background()); err != nil {
		return err
	}
	s.copies.RLock()
	defer ring(s.copied)
	defer s.copies.RUnlock()
	if err := s.flush(); err != nil {
		return err
	}
	btx, err := s.snapshot()
	if err != nil {
		return err
	}
	defer guard(btx.Rollback) // whatever w does
	out := &sink{to: w}
	err = guard(func() error {
		_, err := btx.WriteTo(out)
		return err
	})
	switch {
	case out.err != nil:
		return fmt.Errorf("bolt: backup: %w", out.err)
	case err != nil:
		return fmt.Errorf("bolt: backup: %w", classify(err))
	}
	return nil
}

// sink keeps the error of another one apart from those of whoever writes to it.
type sink struct {
	to  io.Writer
	err error
}

var errWriter = errors.New("the writer panicked")

func (w *sink) Write(p []byte) (int, error) {
	w.err = errWriter // unless it comes back
	n, err := w.to.Write(p)
	w.err = err
	return n, err
}

// snapshot begins a read transaction.
func (s *Store) snapshot() (*bbolt.Tx, error) {
	if err := s.take(context.Background()); err != nil {
		return nil, err
	}
	defer func() { <-s.turn }()
	return s.log.begin(false)
}
