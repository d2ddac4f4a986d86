package bolt

import (
	"context"
	"fmt"

	"github.com/seed-55daa01a/lapse/internal/fault"
)

// Compact gives the free pages of the file back to the file system. It writes all records into a
// new file, makes the new file durable, and puts it in the place of the old file in one step, so
// that a crash leaves one of the two whole. The new file holds no record that was deleted before
// Compact was called. The log may still hold one, until the place in the log is used again.
//
// Reads go on meanwhile, and writes go on while the log has room for them. Compact needs room for
// both files. If a crash leaves a new file behind, the next Open removes it. One Backup or Compact
// runs at a time; the wait for another one ends with ctx.
//
// ErrUnavailable: nothing has changed, also where the operating system replaces no file that is
// open or mounted, and where the new file cannot get the owner of the old file.
// ErrOutcomeUnknown: the new file is in its place, but a crash of the machine may bring back the
// old file. The log belongs to both files, and the store goes on.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.acquire(ctx, s.copying); err != nil {
		return err
	}
	defer s.copying.Give()
	if err := s.acquire(ctx, s.tree.Turn); err != nil {
		return err
	}
	defer s.tree.Turn.Give()
	if l := s.journal.current(); l != nil { // otherwise records that were deleted would be copied
		if err := s.checkpointNow(true); err != nil {
			return fault.NotBegun(err)
		}
	}
	if err := s.tree.Compact(); err != nil {
		return fmt.Errorf("bolt: compact: %w", fault.Classify(err))
	}
	return nil
}
