package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// ensure makes an empty store at path if nothing is there.
func ensure(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Mode().IsRegular():
		removeStale(path)
		return nil
	case err == nil:
		return fmt.Errorf("bolt: open %s: %w: not a regular file", path, ErrNotStore)
	case errors.Is(err, fs.ErrNotExist) && path != "":
		err = create(path)
	}
	if err != nil {
		return fmt.Errorf("bolt: create %s: %w: %w", path, storage.ErrUnavailable, err)
	}
	return nil
}

// create builds a store under another name and then gives it its own: bbolt's
// first write is not safe against a crash, and nobody must find half a file.
func create(path string) error {
	removeStale(path)
	temp, err := newTemp(path)
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	db, err := openTemp(temp)
	if err != nil {
		return err
	}
	if err = initialise(db, temp); err == nil {
		err = publish(temp.Name(), path)
	}
	if err := errors.Join(err, db.Close()); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// tempPattern matches the files beside path in which a store is built that will be
// at path.
func tempPattern(path string) string { return "." + filepath.Base(path) + ".lapse-*" }

// newTemp returns a new file beside path, with its lock: nobody else will take it
// for one that a crash left behind.
func newTemp(path string) (*os.File, error) {
	for range 10 {
		temp, err := os.CreateTemp(filepath.Dir(path), tempPattern(path))
		if err != nil {
			return nil, err
		}
		locked, err := tryLock(temp)
		if err == nil && (locked || !locksEarly) && isAt(temp, temp.Name()) {
			return temp, temp.Chmod(0o600)
		}
		temp.Close()
		os.Remove(temp.Name())
	}
	return nil, errors.New("somebody removes files as they are made")
}

// isAt reports whether f is the file at path.
func isAt(f *os.File, path string) bool {
	info, err := f.Stat()
	at, err2 := os.Stat(path)
	return err == nil && err2 == nil && os.SameFile(info, at)
}

// removeStale removes what a crash has left beside path of files that were to be
// there: those that nobody has locked, and names that the file at path had before it
// got its own. Where files cannot be locked early, the former stay.
func removeStale(path string) {
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real // where Compact builds its file
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	for _, name := range names {
		if !strings.HasPrefix(name, strings.TrimSuffix(tempPattern(path), "*")) {
			continue
		}
		name = filepath.Join(filepath.Dir(path), name)
		f, err := os.OpenFile(name, os.O_RDWR, 0)
		if err != nil {
			continue
		}
		if isAt(f, path) {
			os.Remove(name)
		} else if locked, err := tryLock(f); err == nil && locked && isAt(f, name) {
			os.Remove(name)
		}
		f.Close()
	}
}

// openTemp has bbolt open a new file that is open already.
func openTemp(temp *os.File) (*bbolt.DB, error) {
	opts := options(defaultLockTimeout)
	opts.InitialMmapSize = mapSize(temp)
	opts.OpenFile = func(string, int, os.FileMode) (*os.File, error) { return temp, nil }
	db, err := bbolt.Open(temp.Name(), 0o600, opts)
	if err != nil {
		return nil, errors.Join(err, temp.Close())
	}
	db.AllocSize = allocSize
	return db, nil
}

func initialise(db *bbolt.DB, temp *os.File) error {
	tx := uint64(0)
	err := db.Update(func(btx *bbolt.Tx) error {
		tx = uint64(btx.ID())
		if _, err := btx.CreateBucket(metaBucket); err != nil {
			return err
		}
		if _, err := btx.CreateBucket(tokensBucket); err != nil {
			return err
		}
		return errors.Join(putJournal(btx, leastHalf), putSeq(btx, 0), putSchema(btx, firstSchema))
	})
	if err != nil {
		return err
	}
	return mirror(temp, db.Info().PageSize, tx)
}

// publish gives temp the name path unless something has it by now: then that is
// the store. A link cannot replace a file; a rename, where there are no links,
// can only be asked to after a look.
func publish(temp, path string) error {
	err := os.Link(temp, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(temp, path)
}

// syncDir makes a name in dir durable, where directories can be synced.
func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	if err := d.Sync(); err != nil && !errors.Is(err, errors.ErrUnsupported) && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrInvalid) {
		return err
	}
	return nil
}
