package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"sync/atomic"
	"syscall"

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
	lg, err := log.Open(logPath(l.path), l.opts.ReadOnly)
	switch {
	case errors.Is(err, log.ErrUnfinished) && l.state.Open:
		return l.logFault(errLogMissing)
	case noFile(err) && l.state.Open:
		return errLogMissing
	case noFile(err), errors.Is(err, log.ErrUnfinished):
		l.unfinished = !noFile(err)
		return nil
	case err != nil:
		return l.logFault(err)
	}
	l.log = lg
	switch {
	case lg.ID() == l.state.Log:
	case lg.ID() == l.state.Drops && !l.state.Open: // or the log that is asked for is missing
		return nil // and nothing of it counts
	case !l.state.Open && lg.Parent() == (log.Parent{Log: l.state.Log, Merged: l.state.Merged}):
		l.state.Log, l.state.Merged = lg.ID(), 0
	default:
		return l.logFault(fmt.Errorf("%w: %s", errLogForeign, logPath(l.path)))
	}
	l.last, err = lg.Replay(l.state.Merged, l.apply)
	if err == nil && l.state.Open && l.last < l.state.Merged {
		err = errLogShort
	}
	if err != nil {
		return l.logFault(err)
	}
	l.table.TakeUnsaved(l.table.Len(), new(atomic.Int64)) // a checkpoint writes them, since they are in l.dirty
	return nil
}

// noFile reports whether err says that a file is not there, or cannot be for its long name.
func noFile(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG)
}

// logFault closes the log, which cannot be used because of err, and returns err.
func (l *loaded) logFault(err error) error {
	if l.log != nil {
		l.log.Close()
		l.log = nil
	}
	l.badLog = err
	return err
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
