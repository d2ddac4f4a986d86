package bolt

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"os"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/internal/recovery"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/storage"
)

// Restore puts the store in the file from in the place of the store at path, if there is one:
// its records, its mark and the log beside it, if from has one. from stays as it is.
//
// Restore is all or nothing, whenever a crash comes: it builds a new file beside path, makes
// that durable, and gives it the name path in one step. What the log of the replaced store had
// does not come back: the next Open removes that log. Tokens that were ended after from was made
// live again.
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
		return fmt.Errorf("bolt: restore %s from %s: %w", path, from, fault.Classify(err))
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
	superseded, bad, err := recovery.Superseded(path)
	if err != nil {
		return err
	}
	t, err := tree.Build(path, func(t *tree.Tree) error {
		if err := restoreFrom(t, read, source, superseded); err != nil {
			return err
		}
		return replace(t, old, path, bad)
	})
	if err != nil {
		return err
	}
	defer t.Release()
	return tree.SyncName(path)
}

// restoreFrom makes t, a new file, the store that is open as read, at source, with what the log
// of that has. t supersedes the log superseded.
func restoreFrom(t *tree.Tree, read *os.File, source string, superseded log.ID) error {
	if _, err := io.Copy(t.File, read); err != nil {
		return err
	}
	r, err := recovery.Load(tree.New(t.File, source), recovery.Options{ReadOnly: true, MaxTokens: math.MaxInt})
	if err != nil {
		return err
	}
	if err := t.Open(); err != nil {
		return err
	}
	r.State.Superseded = superseded
	return r.Rewrite(t)
}

// replace gives t the name path, and the mode and the owner of old, which has that name unless
// old is nil. With badLog the log beside path gets another name.
func replace(t *tree.Tree, old *os.File, path string, badLog bool) error {
	var err error
	if old != nil {
		var info os.FileInfo
		if info, err = old.Stat(); err == nil {
			err = localfile.CopyModeAndOwner(t.File, info)
		}
	}
	if err == nil && badLog {
		err = localfile.SetAside(recovery.LogPath(path), "damaged")
	}
	if err != nil {
		return err
	}
	if !localfile.LocksEarly { // nor does a system like that rename an open file, or over one
		old.Close()
		t.Release()
	}
	return os.Rename(t.Path, path)
}
