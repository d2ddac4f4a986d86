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

// Restore puts the store in the file from in the place of the store at path, if there is one. The
// new store has the records and the mark of from, and the groups of the log beside from, if there
// is one. from stays as it is.
//
// Restore is all or nothing, also in a crash: it builds a new file beside path, makes the file
// durable, and gives it the name path in one step. The groups in the log of the replaced store do
// not come back: the next Open removes that log. A token that was ended after from was made lives
// again.
//
// ErrLocked: the store at path, or from, is open. ErrUnavailable: also where path leads to from,
// and where the file at path is a mount point. Other errors of Open concern from. After an error
// the store at path is as it was. There is one exception: after ErrOutcomeUnknown the new store is
// at path, and a crash of the machine may bring back the old store.
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
	old, err := openReplaced(path)
	if err != nil {
		return err
	}
	defer old.Close() // also where old is nil
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

// openReplaced opens and locks the file at path, so that no Open gets it before path leads to the
// new file. It returns nil if there is no file. It fails before anything has changed if no other
// file can get the name path.
func openReplaced(path string) (*os.File, error) {
	old, err := localfile.OpenLocked(path, false, defaultLockTimeout)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case err != nil:
		return nil, err
	case localfile.IsMounted(path):
		return nil, errors.Join(tree.ErrMounted, old.Close())
	}
	return old, nil
}

// restoreFrom makes t, a new file, a copy of the store that is open as read at the path source,
// with the groups of its log. superseded is the ID of the log that t supersedes.
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

// replace gives t the name path, and the mode and the owner of old, the file of that name, unless
// old is nil. With badLog the log beside path gets another name first.
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
	if !localfile.LocksEarly { // such a system neither renames an open file nor replaces one
		old.Close()
		t.Release()
	}
	return os.Rename(t.Path, path)
}
