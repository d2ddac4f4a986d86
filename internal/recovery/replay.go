package recovery

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

// LogPath returns the path of the log of the file at path. The name does not end in -journal or
// -wal, because SQLite removes such files.
func LogPath(path string) string { return path + "-lapse" }

// readLog applies the groups of the log that the tree does not have. A missing log is an error only
// if the tree needs one. The other errors say that the log does not belong to the tree, or that it
// cannot be read.
func (rec *Recovered) readLog() error {
	path := LogPath(rec.path)
	lg, err := log.Open(path, rec.opts.ReadOnly)
	switch {
	case err == nil:
		rec.Log, rec.removeLog = lg, lg.Remove
		if err = rec.replay(); err != nil || rec.opts.ReadOnly {
			lg.Close()
			rec.Log = nil
		}
	case noFile(err) && !rec.State.NeedsLog:
		return nil
	case noFile(err):
		return ErrLogMissing
	case errors.Is(err, log.ErrUnfinished) && rec.State.NeedsLog:
		err = ErrLogMissing
	case errors.Is(err, log.ErrUnfinished): // the log holds nothing
		rec.removeLog = func() error { return os.Remove(path) }
		return nil
	}
	if err != nil {
		rec.removeLog = func() error { return localfile.SetAside(path, "damaged") }
	}
	return err
}

// replay is readLog for a log that is open.
func (rec *Recovered) replay() (err error) {
	st := &rec.State
	switch {
	case rec.Log.ID() == st.Log:
	case rec.Log.ID() == st.Superseded && !st.NeedsLog: // a tree that needs a log needs another one: see default
		return nil // no group of it counts
	case !st.NeedsLog && rec.Log.Parent() == (log.Parent{Log: st.Log, Merged: st.Merged}):
		st.Log, st.Merged = rec.Log.ID(), 0
	default:
		return fmt.Errorf("%w: %s", ErrLogForeign, LogPath(rec.path))
	}
	rec.Last, err = rec.Log.Replay(st.Merged, rec.apply)
	if err == nil && st.NeedsLog && rec.Last < st.Merged {
		err = ErrLogShort
	}
	if err == nil {
		rec.Table.TakeUnsaved(rec.Table.Len(), new(atomic.Int64)) // no flush has to write the renewals of the log: their records are in rec.Dirty, which the first checkpoint writes
	}
	return err
}

// Superseded returns the ID of the log beside path, for the state of a file that supersedes the log.
// The ID is zero if there is no log. If the log is damaged, the ID is zero and bad is true.
func Superseded(path string) (id log.ID, bad bool, err error) {
	l, err := log.Open(LogPath(path), true)
	switch {
	case err == nil:
		return l.ID(), false, l.Close()
	case noFile(err), errors.Is(err, log.ErrUnfinished):
		return id, false, nil
	case errors.Is(err, log.ErrDamaged):
		return id, true, nil
	}
	return id, false, err
}

// noFile reports whether err says that there is no file, or that its name is too long for one.
func noFile(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENAMETOOLONG)
}

// apply applies one group of the log to the table.
func (rec *Recovered) apply(_ uint64, group []byte) error {
	entries, err := wire.ReadEntries(group)
	for i := range entries {
		if err == nil {
			err = rec.applyEntry(&entries[i])
		}
	}
	return err
}

// applyEntry applies one entry to the table, or to the mark.
func (rec *Recovered) applyEntry(e *wire.Entry) error {
	if e.Kind == wire.MarkEntry {
		if rec.Mark, rec.believed = wire.DecodeMark(e.Value); !rec.believed {
			return wire.ErrEntries
		}
		return nil
	}
	rec.applyToRecord(e)
	return nil
}

// applyToRecord applies one entry of a record to the table.
func (rec *Recovered) applyToRecord(e *wire.Entry) {
	_, damaged := rec.Damaged[e.ID]
	if damaged && (e.Kind == wire.RaiseEntry || e.Kind == wire.EndEntry) {
		return // otherwise a checkpoint would delete the record, which the table does not show
	}
	rec.Dirty = append(rec.Dirty, e.ID)
	var r storage.Record
	switch found := rec.Table.Get(e.ID, &r); {
	case e.Kind == wire.RaiseEntry:
		rec.Table.Touch(e.ID, e.Use)
		return
	case e.Kind == wire.EndEntry && !found: // the tree has the deletion of a later group
		return
	}
	rec.Table.Delete(e.ID) // a Put alone would keep the renewals of the older record
	delete(rec.Damaged, e.ID)
	switch e.Kind {
	case wire.PutEntry:
		if r, ok := rec.decode(e.ID[:], e.Value); ok {
			rec.Table.Put(&r, storage.Use{})
		}
	case wire.EndEntry:
		e.End(&r)
		rec.Table.Put(&r, storage.Use{})
	}
}
