package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync/atomic"
	"syscall"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// logPath returns where the log of the file at path is. SQLite removes files beside a file whose
// names end in -journal or -wal.
func logPath(path string) string { return path + "-lapse" }

// readLog applies the groups of the log that the tree does not have. No log is no error unless
// the tree asks for one. An error says why the log does not belong to the tree, or cannot be read.
func (l *loaded) readLog() error {
	path := logPath(l.path)
	lg, err := log.Open(path, l.opts.ReadOnly)
	switch {
	case err == nil:
		l.log, l.drop = lg, lg.Remove
		if err = l.replay(); err != nil || l.opts.ReadOnly {
			lg.Close()
			l.log = nil
		}
	case noFile(err) && !l.state.Open:
		return nil
	case noFile(err):
		return errLogMissing
	case errors.Is(err, log.ErrUnfinished) && l.state.Open:
		err = errLogMissing
	case errors.Is(err, log.ErrUnfinished): // it holds nothing
		l.drop = func() error { return os.Remove(path) }
		return nil
	}
	if err != nil {
		l.drop = func() error { return localfile.SetAside(path, "damaged") }
	}
	return err
}

// replay is readLog for a log that is open.
func (l *loaded) replay() (err error) {
	st := &l.state
	switch {
	case l.log.ID() == st.Log:
	case l.log.ID() == st.Drops && !st.Open: // or the log that is asked for is missing
		return nil // and nothing of it counts
	case !st.Open && l.log.Parent() == (log.Parent{Log: st.Log, Merged: st.Merged}):
		st.Log, st.Merged = l.log.ID(), 0
	default:
		return fmt.Errorf("%w: %s", errLogForeign, logPath(l.path))
	}
	l.last, err = l.log.Replay(st.Merged, l.apply)
	if err == nil && st.Open && l.last < st.Merged {
		err = errLogShort
	}
	if err == nil {
		l.table.TakeUnsaved(l.table.Len(), new(atomic.Int64)) // a checkpoint writes them, since they are in l.dirty
	}
	return err
}

// noFile reports whether err says that a file is not there, or cannot be for its long name.
func noFile(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG)
}

// apply applies one group of the log to the table.
func (l *loaded) apply(_ uint64, group []byte) error {
	entries, err := wire.ReadEntries(group)
	for i := range entries {
		if err == nil {
			err = l.applyEntry(&entries[i])
		}
	}
	return err
}

func (l *loaded) applyEntry(e *wire.Entry) error {
	if e.Kind == wire.MarkEntry {
		if l.mark, l.believed = wire.DecodeMark(e.Value); !l.believed {
			return wire.ErrEntries
		}
		return nil
	}
	_, damaged := l.damaged[e.ID]
	if damaged && (e.Kind == wire.RaiseEntry || e.Kind == wire.EndEntry) {
		return nil // or the record, which the table does not show, would be deleted
	}
	l.dirty = append(l.dirty, e.ID)
	var r storage.Record
	switch found := l.table.Get(e.ID, &r); {
	case e.Kind == wire.RaiseEntry:
		l.table.Touch(e.ID, e.Use)
		return nil
	case e.Kind == wire.EndEntry && !found: // a later group has deleted it
		return nil
	}
	l.table.Delete(e.ID) // a Put would keep what the record seems to have been raised to
	delete(l.damaged, e.ID)
	switch e.Kind {
	case wire.PutEntry:
		l.put(e.ID[:], e.Value)
	case wire.EndEntry:
		e.End(&r)
		l.table.Put(&r, storage.Use{})
	}
	return nil
}
