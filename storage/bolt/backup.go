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
	btx, slots, err := s.snapshot()
	if err != nil {
		return err
	}
	defer guard(btx.Rollback) // whatever w does
	out := &sink{to: w, slots: slots}
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

// sink keeps the error of another one apart from those of whoever writes to it, and
// leaves out what is noted of transactions: the copy is of one that has happened, and
// those after it are not in it.
type sink struct {
	to    io.Writer
	err   error
	at    int64 // how much has been written
	slots int64 // where the slots begin
	blank []byte
}

var errWriter = errors.New("the writer panicked")

func (w *sink) Write(p []byte) (int, error) {
	from, to := max(w.slots-w.at, 0), min(w.slots+2*slotLen-w.at, int64(len(p)))
	if w.slots != 0 && from < to {
		w.blank = append(w.blank[:0], p...)
		clear(w.blank[from:to])
		p = w.blank
	}
	w.err = errWriter // unless it comes back
	n, err := w.to.Write(p)
	w.at, w.err = w.at+int64(n), err
	return n, err
}

// snapshot begins a read transaction, and returns where the slots for notes are.
func (s *Store) snapshot() (btx *bbolt.Tx, slots int64, err error) {
	if err := s.take(context.Background()); err != nil {
		return nil, 0, err
	}
	defer func() { <-s.turn }()
	btx, err = s.log.begin(false)
	return btx, s.log.notes.at, err
}
