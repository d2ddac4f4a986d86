package bolt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"
	"path/filepath"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/storage"
)

// Restore puts the store in the file from in the place of the store at path, if there is one:
// its records, its mark and the log beside it, if from has one. from stays as it is.
//
// Restore is all or nothing, whenever a crash comes: it builds a new file beside path, makes
// that durable, and gives it the name path in one step. What the log of the replaced store had
// does not come back. Tokens that were ended after from was made live again.
//
// ErrLocked: the store at path, or from, is open. ErrUnavailable: also where path leads to from.
// Other errors of Open concern from. After an error the store at path is as it was, except after
// ErrOutcomeUnknown: then the new store is at path, and a crash of the machine may bring back the
// old one.
func Restore(from, path string) error {
	real, err := localfile.Resolve(path)
	if err == nil {
		err = restore(from, real)
	}
	if err != nil {
		return fmt.Errorf("bolt: restore %s from %s: %w", path, from, classify(err))
	}
	return nil
}

func restore(from, path string) error {
	source, err := localfile.Resolve(from)
	if err != nil {
		return err
	}
	if source == path {
		return fmt.Errorf("%w: it is the same file", storage.ErrUnavailable)
	}
	read, err := localfile.OpenLocked(source, true, defaultLockTimeout)
	if err != nil {
		return err
	}
	defer read.Close()
	old, err := localfile.OpenLocked(path, false, defaultLockTimeout) // which locks Open out until path leads to the new file
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	defer old.Close() // nil or not
	localfile.RemoveStale(path)
	file, logCopy, err := copyStore(read, source, path)
	if err != nil {
		return err
	}
	temp := file.Name()
	defer os.Remove(logPath(temp))
	defer os.Remove(temp)
	defer file.Close()
	drops, bad, err := superseded(path)
	if err == nil {
		err = notBegun(adopt(file, drops, old))
	}
	logCopy.Close() // nil or not
	if err == nil && bad {
		err = localfile.SetAside(logPath(path), "damaged")
	}
	if !localfile.LocksEarly { // nor does a system like that rename over an open file
		old.Close()
	}
	if err == nil {
		err = os.Rename(temp, path)
	}
	if err != nil {
		return err
	}
	if err := localfile.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: the directory could not be synced: %w", storage.ErrOutcomeUnknown, err)
	}
	l, err := load(path, Options{LockTimeout: defaultLockTimeout, MaxTokens: math.MaxInt}) // which removes the superseded log
	switch {
	case errors.Is(err, storage.ErrLocked): // it is in use already
		return nil
	case err != nil:
		return fmt.Errorf("%w: the new file is there and cannot be opened: %w", storage.ErrOutcomeUnknown, err)
	}
	return l.close()
}

// copyStore copies the store that is open as read, at source, with its log, to a new file beside
// path. It returns that and the copy of the log, which is nil if there is none, with their locks:
// without, another program that opens path would take them for what a crash has left.
func copyStore(read *os.File, source, path string) (temp, logCopy *os.File, err error) {
	if temp, err = localfile.NewTemp(path); err != nil {
		return nil, nil, err
	}
	if _, err = io.Copy(temp, read); err == nil {
		logCopy, err = copyLog(logPath(source), logPath(temp.Name()))
	}
	if err != nil {
		return nil, nil, errors.Join(err, temp.Close(), os.Remove(temp.Name()))
	}
	return temp, logCopy, nil
}

// copyLog copies a log, if there is one. Where there are no locks it returns the copy closed: it
// could not be removed otherwise.
func copyLog(from, to string) (*os.File, error) {
	in, err := os.Open(from)
	if noFile(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return nil, err
	}
	_, err = localfile.TryLock(out, false)
	if err == nil {
		_, err = io.Copy(out, in)
	}
	if err != nil || !localfile.LocksEarly {
		err = errors.Join(err, out.Close())
	}
	if err != nil {
		return nil, errors.Join(err, os.Remove(to))
	}
	return out, nil
}

// superseded returns the ID of the log beside path, which the new file makes worthless. bad: the
// log is damaged, has no ID that can be read, and has to get another name.
func superseded(path string) (id log.ID, bad bool, err error) {
	l, err := log.Open(logPath(path), true)
	switch {
	case err == nil:
		return l.ID(), false, l.Close()
	case noFile(err):
		return id, false, nil
	case errors.Is(err, log.ErrDamaged), errors.Is(err, log.ErrUnfinished):
		return id, true, nil
	}
	return id, false, err
}

// adopt makes temp, which is locked, the whole of its store, which names the log that it
// supersedes, with the mode and the owner of old, if there is one, and closes it.
func adopt(temp *os.File, drops log.ID, old *os.File) error {
	l, err := loadFile(temp, temp.Name(), Options{MaxTokens: math.MaxInt}, true)
	if err != nil {
		return err
	}
	changes, err := l.changes()
	if err == nil {
		st := l.tree.state
		st.Log, st.Merged, st.Open, st.Drops = log.NewID(), 0, false, drops
		err = l.tree.write(changes, st, &l.mark)
	}
	if err == nil {
		err = l.dropLog()
	}
	if err == nil && old != nil {
		var info os.FileInfo
		if info, err = old.Stat(); err == nil {
			err = localfile.TakeAfter(l.file, info)
		}
	}
	return errors.Join(err, l.close())
}
