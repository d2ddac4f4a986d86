package bolt

import (
	"context"
	"fmt"

	"github.com/seed-55daa01a/lapse/internal/fault"
)

// Compact gives back to the file system what the file no longer needs: it writes what the file
// holds into a new one, makes that durable, and puts it in the place of the old one in one step,
// whenever a crash comes. The new file holds nothing that was deleted before Compact was called;
// the log may, until its place is used again.
//
// Reads go on meanwhile, and so do writes as far as the log reaches. Compact needs room for both
// files. What a crash leaves of the new one the next Open removes. One Backup or Compact runs at
// a time; waiting for another one ends with ctx.
//
// ErrUnavailable: nothing has changed, also where the operating system replaces no file that is
// open or mounted, and where the new file cannot get the owner of the old one.
// ErrOutcomeUnknown: the new file is in its place, but a crash of the machine may bring back the
// old one, to which the log belongs as well; the store goes on.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.acquire(ctx, s.copying); err != nil {
		return err
	}
	defer s.copying.Give()
	if err := s.acquire(ctx, s.tree.Turn); err != nil {
		return err
	}
	defer s.tree.Turn.Give()
	if l := s.journal.current(); l != nil { // or what was deleted would be copied
		if err := s.checkpointNow(true); err != nil {
			return fault.NotBegun(err)
		}
	}
	if err := s.tree.Compact(); err != nil {
		return fmt.Errorf("bolt: compact: %w", fault.Classify(err))
	}
	return nil
}
