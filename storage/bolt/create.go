package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// ensure makes an empty store at path if nothing is there, and otherwise removes what a crash
// has left beside it.
func ensure(path string) error {
	_, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return create(path)
	}
	localfile.RemoveStale(path)
	return err
}

// create builds a store under another name and then gives it its own: bbolt's first write is
// not safe against a crash, and no process must find half a file. Where another process has
// made a store at path meanwhile, that one stays.
func create(path string) error {
	if _, err := os.Lstat(logPath(path)); err == nil {
		return fmt.Errorf("%w: %s is there without it", errFileMissing, logPath(path))
	}
	_, err := build(path, func(t *tree) error {
		if err := t.initialise(); err != nil {
			return err
		}
		return errors.Join(localfile.Publish(t.path, path), t.release())
	})
	if err != nil {
		return err
	}
	return localfile.SyncDir(filepath.Dir(path))
}

// build makes a file beside path, with its lock, which fill makes a store and gives the name path.
// If fill fails, nothing is left of the file, and the error is one of fault.NotBegun.
func build(path string, fill func(*tree) error) (*tree, error) {
	localfile.RemoveStale(path)
	temp, err := localfile.NewTemp(path)
	if err != nil {
		return nil, err
	}
	defer os.Remove(temp.Name()) // unless it was renamed
	t := newTree(temp, temp.Name())
	t.temp = true
	if err := fill(t); err != nil {
		t.release()
		temp.Close() // where bbolt has not opened it
		return nil, fault.NotBegun(err)
	}
	return t, nil
}

// initialise makes t, a new file, an empty store.
func (t *tree) initialise() error {
	if err := t.open(); err != nil {
		return err
	}
	err := t.db.Update(func(btx *bbolt.Tx) error {
		meta, err := btx.CreateBucketIfNotExists([]byte(metaBucket))
		if err == nil {
			_, err = btx.CreateBucketIfNotExists([]byte(tokensBucket))
		}
		if err == nil {
			err = meta.Put([]byte(schemaKey), []byte(strconv.Itoa(schema)))
		}
		return err
	})
	if err == nil {
		err = t.look()
	}
	if err == nil {
		err = t.write(nil, wire.State{}, new(storage.Mark))
	}
	return err
}
