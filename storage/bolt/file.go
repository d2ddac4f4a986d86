package bolt

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"go.etcd.io/bbolt"

	"github.com/seed-55daa01a/lapse/storage"
)

// The buckets of a file, and what says that it is ours.
var (
	metaBucket   = []byte("lapse.meta")
	tokensBucket = []byte("lapse.tokens") // ID to encoded record
	schemaKey    = []byte("schema")
)

// schema is the layout of buckets and keys that this package writes. Records have
// a version of their own.
const schema = 1

// ensure makes an empty store at path if nothing is there.
func ensure(path string) error {
	info, err := os.Stat(path)
	switch {
	case err == nil && info.Mode().IsRegular():
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
	temp, err := os.CreateTemp(filepath.Dir(path), ".lapse-*")
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name())
	err = errors.Join(temp.Chmod(0o600), temp.Close())
	if err != nil {
		return err
	}
	if err := initialise(temp.Name()); err != nil {
		return err
	}
	if err := publish(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

func initialise(path string) error {
	db, err := bbolt.Open(path, 0o600, options(defaultLockTimeout))
	if err != nil {
		return err
	}
	err = db.Update(func(btx *bbolt.Tx) error {
		meta, err := btx.CreateBucket(metaBucket)
		if err != nil {
			return err
		}
		if _, err := btx.CreateBucket(tokensBucket); err != nil {
			return err
		}
		return meta.Put(schemaKey, []byte(strconv.Itoa(schema)))
	})
	return errors.Join(err, db.Close())
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

func options(timeout time.Duration) *bbolt.Options {
	return &bbolt.Options{
		Timeout:      timeout,
		FreelistType: bbolt.FreelistMapType,
		NoStatistics: true,
	}
}

// open opens the file at path, which exists. The whole of it is looked at first, or,
// where the lock could not be had before, as soon as bbolt has it.
func open(path string, timeout time.Duration) (*bbolt.DB, *os.File, error) {
	db, file, looked, err := openLooking(path, timeout)
	if err == nil && !looked {
		if _, err = look(file); err != nil {
			err = errors.Join(err, guard(db.Close))
		}
	}
	return db, file, classify(err)
}

// openLooking says, too, whether all of the file was looked at before.
func openLooking(path string, timeout time.Duration) (db *bbolt.DB, file *os.File, looked bool, err error) {
	opts := options(timeout)
	opts.OpenFile = func(path string, _ int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(path, os.O_RDWR, mode) // never O_CREATE: bbolt would fill an empty file
		if err != nil {
			return nil, err
		}
		if looked, err = preflight(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		file = f
		return f, nil
	}
	err = guard(func() error {
		db, err = bbolt.Open(path, 0o600, opts)
		return err
	})
	if errors.Is(err, storage.ErrCorrupt) && file != nil { // bbolt panicked with it open
		err = errors.Join(err, unlock(file), file.Close())
	}
	return db, file, looked, err
}

// checkSchema returns nil if the file is a store in a layout that this package
// knows.
func checkSchema(btx *bbolt.Tx) error {
	meta := btx.Bucket(metaBucket)
	if meta == nil || btx.Bucket(tokensBucket) == nil {
		return ErrNotStore
	}
	n, err := strconv.Atoi(string(meta.Get(schemaKey)))
	switch {
	case err != nil || n < 1:
		return fmt.Errorf("%w: its schema is not a number", storage.ErrCorrupt)
	case n > schema:
		return fmt.Errorf("%w: schema %d, this one knows up to %d", ErrNewerSchema, n, schema)
	}
	return nil
}
