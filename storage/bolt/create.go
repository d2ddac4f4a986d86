package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/turn"
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
	localfile.RemoveStale(path)
	temp, err := localfile.NewTemp(path)
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	t := &tree{turn: turn.New(), path: temp.Name(), file: temp, commitTx: commitTx, temp: true}
	if err := t.open(); err != nil {
		return err
	}
	err = t.initialise()
	if err == nil {
		err = localfile.Publish(temp.Name(), path)
	}
	if err := errors.Join(err, t.release()); err != nil {
		return err
	}
	return localfile.SyncDir(filepath.Dir(path))
}

// initialise makes t, a new file of bbolt, an empty store.
func (t *tree) initialise() error {
	err := t.db.Update(func(btx *bbolt.Tx) error {
		for _, name := range []string{metaBucket, tokensBucket} {
			if _, err := btx.CreateBucketIfNotExists([]byte(name)); err != nil {
				return err
			}
		}
		return btx.Bucket([]byte(metaBucket)).Put([]byte(schemaKey), []byte(strconv.Itoa(schema)))
	})
	if err == nil {
		err = t.look()
	}
	if err == nil {
		err = t.write(nil, wire.State{}, new(storage.Mark))
	}
	return err
}

func commitTx(btx *bbolt.Tx) error { return btx.Commit() }
