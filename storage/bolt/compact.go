package bolt

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// Compact gives back to the file system what the file no longer needs: it writes
// what the file holds into a new one, makes that durable, and puts it in the place of
// the old one in one step, whenever a crash comes. Nothing of what was deleted is in
// the new file.
//
// Reads go on meanwhile; what is written waits until the end, a second for some
// hundred megabytes. It needs room for both files; what a crash leaves of the new one
// the next Compact removes. ErrUnavailable: nothing has changed, also where the
// operating system replaces no file that is open. Waiting, for a Backup for instance,
// ends with ctx only until the work has begun.
func (s *Store) Compact(ctx context.Context) error {
	if err := s.ready(ctx); err != nil {
		return err
	}
	for !s.copies.TryLock() { // a copy of the old file would keep it open
		select {
		case <-s.copied:
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closed:
			return storage.ErrClosed
		}
	}
	defer ring(s.copied) // others may wait
	defer s.copies.Unlock()
	return s.alone(ctx, (*log).compact)
}

// alone has the committer run fn, while nothing is written, and makes what that returns
// the log, unless it is nil.
func (s *Store) alone(ctx context.Context, fn func(*log) (*log, error)) error {
	if err := s.take(ctx); err != nil {
		return err
	}
	return s.runAlone(fn)
}

// runAlone is alone for a caller who has the turn, and has given it back then.
func (s *Store) runAlone(fn func(*log) (*log, error)) error {
	o := &op{alone: fn}
	g := s.enqueue(o)
	s.turn.Give()
	<-g.done
	return o.err
}

// compactStep is how much one transaction of a compaction writes, in bytes.
const compactStep = 16 << 20

// compact puts a new file with the same content at l's path, and returns it. l is
// the old one by then.
func (l *log) compact() (*log, error) {
	if err := l.check(); err != nil {
		return nil, err
	}
	if err := l.shrink(); err != nil {
		return nil, err
	}
	path, err := filepath.EvalSymlinks(l.path) // a link stays one
	if err != nil {
		return nil, classify(err)
	}
	removeStale(path)
	temp, err := newTemp(path)
	if err != nil {
		return nil, classify(err)
	}
	next := newLog(temp.Name())
	next.tree.file, next.tree.sum, next.tree.seq = temp, l.tree.sum, l.tree.seq
	next.repaired, next.marked, next.merges, next.schema = l.repaired, l.marked, l.merges, l.schema
	if next.tree.db, err = openTemp(temp); err == nil {
		err = next.copyFrom(l)
	}
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return nil, errors.Join(classify(err), next.close(), os.Remove(temp.Name()))
	}
	next.path, next.marks = l.path, l.marks
	return next, classify(syncDir(filepath.Dir(path)))
}

// shrink makes the journal as long as it should be for what the file holds. Nothing is in
// it then.
func (l *log) shrink() error {
	if err := l.mergeAll(); err != nil {
		return err
	}
	live := 0
	err := l.tree.view(func(btx *bbolt.Tx) error {
		stats := btx.Bucket(tokensBucket).Stats()
		live = stats.LeafInuse + stats.BranchInuse
		return nil
	})
	if err != nil {
		return classify(err)
	}
	return l.resize(dueHalf(int64(live)))
}

// copyFrom fills l, which is empty, with all that old holds, and makes it durable.
func (l *log) copyFrom(old *log) (err error) {
	if l.info, err = l.tree.file.Stat(); err != nil {
		return err
	}
	t := &l.tree
	err = guard(func() error {
		t.db.NoSync = true // nobody relies on it yet
		err := bbolt.Compact(t.db, old.tree.db, compactStep)
		t.db.NoSync = false
		return errors.Join(err, t.db.Sync())
	})
	if err != nil {
		return err
	}
	if err := t.merge(nil); err != nil {
		return err
	}
	l.least = t.size
	return l.findJournal()
}
