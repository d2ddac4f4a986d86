package bolt

import (
	"errors"
	"fmt"
	"os"
	"runtime"
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
	markKey      = []byte("mark") // see mark.go
)

// schema is the layout of buckets and keys that this package writes. Records have
// a version of their own.
const schema = 1

func options(timeout time.Duration) *bbolt.Options {
	return &bbolt.Options{
		Timeout:      timeout,
		FreelistType: bbolt.FreelistMapType,
		NoStatistics: true,
	}
}

// mapSize is how much address space, which costs no memory, the map of f takes from
// the beginning: a file that outgrows it must be mapped anew, and bbolt lets nobody
// read or write meanwhile. Where a map makes its file longer, or addresses are
// scarce, it is left to bbolt.
func mapSize(f *os.File) int {
	info, err := f.Stat()
	if err != nil || runtime.GOOS == "windows" || strconv.IntSize < 64 {
		return 0
	}
	return int(max(1<<30, 4*info.Size()))
}

// allocSize is by how much the file grows at least. bbolt's own 16 MB would be most
// of a small store.
const allocSize = 256 << 10

// openLog opens the file at path, which exists. All of it is looked at first, or,
// where the lock could not be had before, as soon as bbolt has it. begin is called
// before each look and says who is told what it meets.
func openLog(path string, opts Options, begin func() visitor) (*log, error) {
	l, err := openOnce(path, opts, begin)
	for range 2 {
		if !errors.Is(err, errCompacted) {
			break
		}
		l, err = openOnce(path, opts, begin)
	}
	return l, classify(err)
}

// errCompacted: while Open waited for the lock, whoever had it put another file in
// the place of this one.
var errCompacted = fmt.Errorf("%w, where it was just compacted", storage.ErrLocked)

func openOnce(path string, opts Options, begin func() visitor) (*log, error) {
	look := &preflight{repair: opts.Repair, begin: begin}
	l, err := openLooking(path, opts.LockTimeout, look)
	if err == nil && !look.looked {
		err = look.look(l.file)
	}
	if err == nil {
		err = l.adopt(look)
	}
	if err != nil && l.db != nil {
		err = errors.Join(err, l.close())
	}
	return l, err
}

func openLooking(path string, timeout time.Duration, look *preflight) (*log, error) {
	l := newLog(path)
	opts := options(timeout)
	opts.OpenFile = func(path string, _ int, mode os.FileMode) (*os.File, error) {
		f, err := os.OpenFile(path, os.O_RDWR, mode) // never O_CREATE: bbolt would fill an empty file
		if err != nil {
			return nil, err
		}
		if err := look.check(f); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		l.file, opts.InitialMmapSize = f, mapSize(f)
		return f, nil
	}
	err := guard(func() (err error) {
		l.db, err = bbolt.Open(path, 0o600, opts)
		return err
	})
	if errors.Is(err, storage.ErrCorrupt) && l.file != nil { // bbolt panicked with it open
		l.db = nil
		err = errors.Join(err, unlock(l.file), l.file.Close())
	}
	return l, err
}

// adopt makes sure that the file is a store, and what it was when look saw it.
func (l *log) adopt(look *preflight) (err error) {
	if l.info, err = l.file.Stat(); err != nil {
		return err
	}
	if !isAt(l.file, l.path) {
		return errCompacted
	}
	l.tx, l.repaired, l.sum, l.damaged = look.meta.tx, look.lost, look.sum, look.damaged
	l.least = int64(look.meta.pages * look.meta.pageSize)
	l.db.AllocSize = allocSize
	err = l.guardEdge(func() error {
		return l.db.View(func(btx *bbolt.Tx) error {
			err := checkSchema(btx)
			if err == nil {
				l.notes, err = findNotes(btx, l.file)
				l.marked, l.believed = readMark(btx)
			}
			if err == nil && !look.damaged { // or the damage explains the difference
				err = l.sum.check(btx.Bucket(tokensBucket), l.tx, look.lost)
			}
			return err
		})
	})
	if errors.Is(err, errMetaLost) && look.repair {
		l.repaired, err = true, nil
	}
	if err != nil {
		return err
	}
	return l.catchUp(look.noted)
}

// catchUp makes what is noted of transactions that are not in the file, and what was
// repaired, durable under both meta pages, and then tells noted of each record. If that
// is nil, notes are left alone.
func (l *log) catchUp(noted func(*storage.Record)) (err error) {
	var will *op
	var ops []*op
	var records []storage.Record
	if noted != nil {
		will, records, err = l.recall()
	}
	if err != nil || len(records) == 0 && !l.repaired {
		return err
	}
	if len(records) > 0 {
		ops = append(ops, will)
	}
	if err := l.settle(ops); err != nil {
		return err
	}
	for i := range records {
		noted(&records[i])
	}
	return nil
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
