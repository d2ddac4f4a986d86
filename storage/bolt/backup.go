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
// copy is no good. What was written last is merged into the tree first, which takes some
// room: with ErrDiskFull, make it.
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
	btx, j, err := s.snapshot()
	if err != nil {
		return err
	}
	defer guard(btx.Rollback) // whatever w does
	out := &sink{w: w, journal: j}
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
// leaves out what is in the journal: all of it is in the tree that is copied, or came
// later.
type sink struct {
	w       io.Writer
	err     error
	at      int64   // how much has been written
	journal journal // of what is copied
	blank   []byte
}

var errWriter = errors.New("the writer panicked")

func (s *sink) Write(p []byte) (int, error) {
	begin := s.journal.at
	from, to := max(begin-s.at, 0), min(begin+int64(2*s.journal.half)-s.at, int64(len(p)))
	if from < to {
		s.blank = append(s.blank[:0], p...)
		clear(s.blank[from:to])
		p = s.blank
	}
	s.err = errWriter // unless it comes back
	n, err := s.w.Write(p)
	s.at, s.err = s.at+int64(n), err
	return n, err
}

// snapshot begins a read transaction in which all is that was written until now, and
// returns the journal of that moment.
func (s *Store) snapshot() (btx *bbolt.Tx, j journal, err error) {
	err = s.alone(context.Background(), func(l *log) (_ *log, err error) {
		if err = l.mergeAll(); err == nil {
			btx, err = l.tree.begin(false)
		}
		j = l.journal
		return nil, err
	})
	return btx, j, err
}
