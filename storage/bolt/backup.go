package bolt

import (
	"context"
	"fmt"
	"io"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/tree"
)

// Backup writes a consistent copy of the store to w. The copy has all writes and Touches from
// before the call. In a file of its own, the copy opens as a store; give the file mode 0600.
// Restore puts the copy in the place of a store.
//
// The store can be used meanwhile, but the file frees no pages until Backup returns: with a slow w
// the file grows. One Backup or Compact runs at a time; the next one waits. A token that was ended
// after the copy began lives in the copy, and in a store that is restored from it.
//
// A store that is open with Options.ReadOnly makes no backup, and the error is ErrReadOnly. Its
// file does not change, and Restore copies the file.
//
// After an error the copy is no good. The error is that of w or of ctx, ErrClosed if the store
// is closed meanwhile, or ErrUnavailable; then Backup may be tried again. Backup notices that ctx
// has ended when w returns.
func (s *Store) Backup(ctx context.Context, w io.Writer) error {
	if err := s.acquire(ctx, s.copying); err != nil {
		return err
	}
	defer s.copying.Give()
	s.writeNow(ctx, new(op)) // waits for a flush that was given up: if that fails, the next flush has its renewals again
	if err := s.flushNow(ctx); err != nil {
		return err
	}
	r, err := s.snapshot(ctx)
	if err != nil {
		return fmt.Errorf("bolt: backup: %w", fault.NotBegun(err))
	}
	defer r.End(nil)
	defer context.AfterFunc(ctx, func() { r.End(context.Cause(ctx)) })()
	if _, err := io.CopyN(w, r, r.Size); err != nil {
		return fmt.Errorf("bolt: backup: %w", err)
	}
	return nil
}

// snapshot merges the log into the tree and begins to copy the tree. At that moment the tree says
// that it is whole without a log.
func (s *Store) snapshot(ctx context.Context) (r *tree.Reading, err error) {
	t := s.tree
	if err := s.acquire(ctx, t.Turn); err != nil {
		return nil, err
	}
	defer t.Turn.Give()
	if s.journal.current() == nil {
		return t.Read(ctx)
	}
	if err = s.checkpointNow(false); err == nil {
		r, err = t.Read(ctx)
	}
	if err == nil && s.journal.bound.Load() {
		next := t.State
		next.NeedsLog = true
		err = t.Write(nil, next, nil)
	}
	if err != nil {
		s.journal.bound.Store(false) // the next group has the tree name the log again
		t.Cut(err)
	}
	return r, err
}
