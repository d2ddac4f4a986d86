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
	if err := s.take(ctx); err != nil {
		return err
	}
	o := &op{compacts: true}
	g := s.enqueue(o)
	<-s.turn
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
	next.file, next.repaired, next.sum, next.marked = temp, l.repaired, l.sum, l.marked
	if next.db, err = openTemp(temp); err == nil {
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

// copyFrom fills l, which is empty, with all that old holds, and makes it durable.
func (l *log) copyFrom(old *log) (err error) {
	if l.info, err = l.file.Stat(); err != nil {
		return err
	}
	err = guard(func() error {
		l.db.NoSync = true // nobody relies on it yet
		err := bbolt.Compact(l.db, old.db, compactStep)
		if err == nil {
			err = l.emptyNotes()
		}
		l.db.NoSync = false
		return errors.Join(err, l.db.Sync())
	})
	if err != nil {
		return err
	}
	if err = l.settle(nil); errors.Is(err, storage.ErrOutcomeUnknown) {
		return l.cause // and nobody needs to know
	}
	return err
}

// emptyNotes forgets what was noted of the transactions of another file.
func (l *log) emptyNotes() error {
	err := l.db.View(func(btx *bbolt.Tx) (err error) {
		l.notes, err = findNotes(btx, l.file)
		return err
	})
	return errors.Join(err, l.notes.clear())
}
