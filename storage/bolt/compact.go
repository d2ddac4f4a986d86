package bolt

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

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
			return notBegun(err)
		}
	}
	if err := s.tree.compact(); err != nil {
		return fmt.Errorf("bolt: compact: %w", classify(err))
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
	localfile.RemoveStale(t.path)
	temp, err := localfile.NewTemp(t.path)
	if err != nil {
		return err
	}
	next := &tree{turn: t.turn, path: temp.Name(), file: temp, commitTx: t.commitTx, state: t.state, space: t.space, temp: true}
	if err = next.open(); err == nil {
		err = next.copyFrom(t)
	}
	if err == nil {
		err = localfile.TakeAfter(temp, t.info)
	}
	if err == nil {
		err = os.Rename(temp.Name(), t.path)
	}
	if err != nil {
		return errors.Join(notBegun(err), next.release(), os.Remove(temp.Name()))
	}
	return t.become(next)
}

// become has t use the file of next, which is at t.path by now. ErrOutcomeUnknown: the directory
// could not be synced.
func (t *tree) become(next *tree) error {
	synced := localfile.SyncDir(filepath.Dir(t.path))
	t.release() // nothing of the old file is needed any more
	t.file, t.db, t.pin, t.info = next.file, next.db, next.pin, next.info
	t.state, t.head, t.space, t.lost, t.broken = next.state, next.head, next.space, nil, false
	t.size, t.state.Named = next.size, synced == nil
	if info, err := t.file.Stat(); err == nil {
		t.length.Store(info.Size())
	}
	if synced != nil {
		return fmt.Errorf("%w: the directory could not be synced: %w", storage.ErrOutcomeUnknown, synced)
	}
	return nil
}

// copyFrom fills t, which is new, with all that old holds, and makes it durable.
func (t *tree) copyFrom(old *tree) error {
	err := guard(func() error {
		t.db.NoSync = true // a crash leaves nothing that counts
		err := bbolt.Compact(t.db, old.db, compactStep)
		t.db.NoSync = false
		return errors.Join(err, t.db.Sync())
	})
	if err == nil {
		err = t.look()
	}
	for range 2 { // two commits, as write makes
		if err == nil {
			err = t.update(nil, t.state, nil)
		}
	}
	return err
}
