package recovery

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/tree"
)

// ensure makes an empty store at path if there is no file, and otherwise removes the files that a
// crash has left beside it.
func ensure(path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return create(path)
	}
	localfile.RemoveStale(path)
	return err
}

// create builds an empty store under another name and then gives it the name path: bbolt's first
// write is not safe against a crash, and no process must find half a file. If another process has
// made a store at path meanwhile, that store stays.
func create(path string) error {
	if _, err := os.Lstat(LogPath(path)); err == nil {
		return fmt.Errorf("%w: %s is there without it", ErrFileMissing, LogPath(path))
	}
	_, err := tree.Build(path, func(t *tree.Tree) error {
		if err := t.Initialise(); err != nil {
			return err
		}
		return errors.Join(localfile.Publish(t.Path, path), t.Release())
	})
	if err != nil {
		return err
	}
	return localfile.SyncDir(filepath.Dir(path))
}
