package bolt

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/storage"
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
	if err := s.acquire(ctx, s.tree.turn); err != nil {
		return err
	}
	defer s.tree.turn.Give()
	if l := s.journal.current(); l != nil { // or what was deleted would be copied
		if err := s.checkpointNow(true); err != nil {
			return fault.NotBegun(err)
		}
	}
	if err := s.tree.compact(); err != nil {
		return fmt.Errorf("bolt: compact: %w", fault.Classify(err))
	}
	return nil
}

// compactStep is how many bytes one transaction of a compaction writes.
const compactStep = 16 << 20

var errMounted = fmt.Errorf("%w: the file itself is a mount point, and no other file can take its place; mount its directory instead", storage.ErrUnavailable)

// compact puts a new file with the same content at t.path. An error means that nothing has
// changed, unless it is ErrOutcomeUnknown.
func (t *tree) compact() error {
	if err := t.ready(); err != nil {
		return err
	}
	if localfile.IsMounted(t.path) {
		return errMounted
	}
	next, err := build(t.path, func(next *tree) error {
		next.commitTx, next.state, next.space = t.commitTx, t.state, t.space
		if err := next.copyFrom(t); err != nil {
			return err
		}
		return os.Rename(next.path, t.path)
	})
	if err != nil {
		return err
	}
	return t.become(next)
}

// become has t use the file of next, which is at t.path by now. ErrOutcomeUnknown: the directory
// could not be synced.
func (t *tree) become(next *tree) error {
	synced := syncName(t.path)
	t.release() // nothing of the old file is needed any more
	t.opened = next.opened
	t.state.Named = synced == nil
	t.check() // for t.length
	return synced
}

// syncName makes it durable that path leads to a new file. The error is ErrOutcomeUnknown.
func syncName(path string) error {
	if err := localfile.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: the directory could not be synced: %w", storage.ErrOutcomeUnknown, err)
	}
	return nil
}

// copyFrom makes t, a new file, a durable store that holds all that old holds, with the mode and
// the owner of old.
func (t *tree) copyFrom(old *tree) error {
	if err := t.open(); err != nil {
		return err
	}
	t.db.NoSync = true // write syncs the whole file
	err := guard(func() error { return bbolt.Compact(t.db, old.db, compactStep) })
	t.db.NoSync = false
	if err == nil {
		err = t.look()
	}
	if err == nil {
		err = t.write(nil, t.state, nil)
	}
	if err == nil {
		err = localfile.TakeAfter(t.file, old.info)
	}
	return err
}
