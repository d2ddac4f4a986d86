package bolt

import (
	"context"
	"fmt"
	"io"

	"go.etcd.io/bbolt"
)

// Backup writes a consistent copy of the store to w: all that was written before Backup was
// called, and what Touch deferred until then. Written to a file, the copy opens as a store; give
// that file mode 0600. Restore puts it in the place of a store.
//
// The store is in use meanwhile, but the file keeps what it would free: a slow w lets it grow.
// One Backup or Compact runs at a time; the next one waits. What was ended after the copy began
// lives in the copy: a store that is restored knows nothing of it.
//
// A store that is open with Options.ReadOnly makes none, as ErrReadOnly says: its file does not
// change, and Restore copies it.
//
// After an error the copy is no good. The error is that of w or of ctx, ErrClosed if the store
// is closed meanwhile, or ErrUnavailable, in which case Backup may be tried again. Backup
// notices that ctx has ended when w returns.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if err := s.acquire(ctx, s.copying); err != nil {
		return err
	}
	defer s.copying.Give()
	if err := s.flushNow(ctx); err != nil {
		return err
	}
	r, err := s.snapshot(ctx)
	if err != nil {
		return fmt.Errorf("bolt: backup: %w", notBegun(err))
	}
	defer func() {
		r.cut(context.Canceled)
		s.tree.reader.CompareAndSwap(r, nil)
	}()
	defer context.AfterFunc(ctx, func() { r.cut(context.Cause(ctx)) })()
	if _, err := io.Copy(w, r.from); err != nil {
		return fmt.Errorf("bolt: backup: %w", err)
	}
	return nil
}

// snapshot takes the log into the tree and begins to copy that, while the tree says that it is
// whole without a log.
func (s *Store) snapshot(ctx context.Context) (r *reading, err error) {
	t := s.tree
	if err := s.acquire(ctx, t.turn); err != nil {
		return nil, err
	}
	defer t.turn.Give()
	if s.journal.current() == nil {
		return t.read()
	}
	if err = s.checkpointNow(false); err == nil {
		r, err = t.read()
	}
	if err == nil && s.journal.bound.Load() {
		next := t.state
		next.Open = true
		if err = t.write(nil, next, nil); err != nil {
			r.cut(err)
		}
	}
	if err != nil {
		s.journal.bound.Store(false) // the next group has the tree say that the log goes on
		return nil, notBegun(err)
	}
	return r, nil
}

// reading is a copy of the tree on its way to the caller of Backup, which may be slow. When the
// tree has to be closed, cut ends the copy, and the tree does not wait for the caller.
type reading struct {
	from *io.PipeReader
	to   *io.PipeWriter
	done chan struct{} // closed when the transaction has ended
}

// read begins to copy the tree, in a goroutine that ends with r.done.
func (t *tree) read() (*reading, error) {
	if t.lost != nil {
		if err := t.reopen(); err != nil {
			return nil, err
		}
	}
	btx, err := t.begin(false)
	if err != nil {
		return nil, err
	}
	r := &reading{done: make(chan struct{})}
	r.from, r.to = io.Pipe()
	t.reader.Store(r)
	go r.copy(btx)
	return r, nil
}

// copy writes the file of btx to the pipe and ends btx.
func (r *reading) copy(btx *bbolt.Tx) {
	defer close(r.done)
	defer guard(btx.Rollback)
	err := guard(func() error {
		_, err := btx.WriteTo(r.to)
		return err
	})
	if err != nil {
		err = classify(err)
	}
	r.to.CloseWithError(err)
}

// cut ends r with err, unless it has ended, and returns when its transaction has.
func (r *reading) cut(err error) {
	r.to.CloseWithError(err)
	<-r.done
}
