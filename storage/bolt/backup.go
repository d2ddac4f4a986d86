package bolt

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"sync/atomic"

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
	s.writeNow(ctx, new(op)) // a flush that was given up may be on its way: if it fails, this one writes what it took
	if err := s.flushNow(ctx); err != nil {
		return err
	}
	r, err := s.snapshot(ctx)
	if err != nil {
		return fmt.Errorf("bolt: backup: %w", notBegun(err))
	}
	defer r.end(nil)
	defer context.AfterFunc(ctx, func() { r.end(context.Cause(ctx)) })()
	if _, err := io.CopyN(w, r, r.size); err != nil {
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
		return t.read(ctx)
	}
	if err = s.checkpointNow(false); err == nil {
		r, err = t.read(ctx)
	}
	if err == nil && s.journal.bound.Load() {
		next := t.state
		next.Open = true
		err = t.write(nil, next, nil)
	}
	if err != nil {
		s.journal.bound.Store(false) // the next group has the tree say that the log goes on
		t.cut(err)
	}
	return r, err
}

// reading is a copy of the tree on its way to the writer of a Backup, which may be slow. The tree
// does not wait for that writer: it cuts the copy off before its transaction ends.
type reading struct {
	pages io.Reader // the meta pages of the transaction, and behind them those of the file
	size  int64
	tx    atomic.Pointer[bbolt.Tx] // keeps the pages from being written; nil: it has ended
	ctx   context.Context          // ends, with the reason, before tx does
	stop  context.CancelCauseFunc
}

// read begins to copy the tree.
func (t *tree) read(ctx context.Context) (*reading, error) {
	if err := t.ready(); err != nil {
		return nil, err
	}
	btx, err := t.begin(false)
	if err != nil {
		return nil, err
	}
	metas := make(head, 0, 2*t.db.Info().PageSize)
	btx.WriteTo(&metas) // the error is that of a full head
	at, size := int64(len(metas)), btx.Size()
	r := &reading{pages: io.MultiReader(bytes.NewReader(metas), io.NewSectionReader(t.file, at, size-at)), size: size}
	r.tx.Store(btx)
	r.ctx, r.stop = context.WithCancelCause(ctx)
	t.reader = r
	return r, nil
}

// head takes as many bytes as it has capacity for. bbolt writes the meta pages of a transaction
// one by one, before it reads the file.
type head []byte

func (h *head) Write(b []byte) (int, error) {
	if len(*h)+len(b) > cap(*h) {
		return 0, io.ErrShortWrite
	}
	*h = append(*h, b...)
	return len(b), nil
}

// Read implements io.Reader. What it reads after the copy was cut off may be of another
// transaction, and is not returned.
func (r *reading) Read(b []byte) (int, error) {
	n, err := r.pages.Read(b)
	if r.ctx.Err() != nil {
		return 0, context.Cause(r.ctx)
	}
	return n, classify(err)
}

// end ends r with err, unless it has ended.
func (r *reading) end(err error) {
	r.stop(err)
	if btx := r.tx.Swap(nil); btx != nil {
		guard(btx.Rollback)
	}
}

// cut ends the Backup that runs, if one does, with err.
func (t *tree) cut(err error) {
	if r := t.reader; r != nil {
		r.stop(err)
		t.rollback(r.tx.Swap(nil))
	}
}
