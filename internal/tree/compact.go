package tree

import (
	"fmt"
	"os"
	"path/filepath"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/storage"
)

// compactStep is how many bytes one transaction of a compaction writes.
const compactStep = 16 << 20

// ErrMounted means that the file is a mount point, and no other file can get its name.
var ErrMounted = fmt.Errorf("%w: the file itself is a mount point, and no other file can take its place; mount its directory instead", storage.ErrUnavailable)

// Compact puts a new file with the same content at t.Path. After an error nothing has changed,
// unless the error is ErrOutcomeUnknown.
func (t *Tree) Compact() error {
	if err := t.ready(); err != nil {
		return err
	}
	if localfile.IsMounted(t.Path) {
		return ErrMounted
	}
	next, err := Build(t.Path, func(next *Tree) error {
		if err := next.CopyFrom(t); err != nil {
			return err
		}
		return os.Rename(next.Path, t.Path)
	})
	if err != nil {
		return err
	}
	return t.Become(next)
}

// Become has t use the file of next, which is at t.Path by now. ErrOutcomeUnknown: the directory
// could not be synced.
func (t *Tree) Become(next *Tree) error {
	synced := SyncName(t.Path)
	t.Release() // its error does not matter: the old file is not needed any more
	t.opened = next.opened
	t.State.Named = synced == nil
	t.Check() // sets t.Length
	return synced
}

// SyncName makes it durable that path leads to a new file. The error is ErrOutcomeUnknown.
func SyncName(path string) error {
	if err := localfile.SyncDir(filepath.Dir(path)); err != nil {
		return fmt.Errorf("%w: the directory could not be synced: %w", storage.ErrOutcomeUnknown, err)
	}
	return nil
}

// CopyFrom makes t, a new file, a durable copy of old, with the mode and the owner of old.
func (t *Tree) CopyFrom(old *Tree) error {
	t.CommitTx, t.SyncDB, t.State, t.space = old.CommitTx, old.SyncDB, old.State, old.space
	if err := t.Open(); err != nil {
		return err
	}
	t.DB.NoSync = true // Write syncs the whole file
	err := guard(func() error { return bbolt.Compact(t.DB, old.DB, compactStep) })
	t.DB.NoSync = false
	if err == nil {
		err = t.noteHead()
	}
	if err == nil {
		err = t.Write(nil, t.State, nil)
	}
	if err == nil {
		err = localfile.CopyModeAndOwner(t.File, old.Info)
	}
	return err
}
