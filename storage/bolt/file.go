package bolt

import (
	"errors"
	"fmt"
	"math"
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

// options are how bbolt opens a file. The list of free pages is itself written to pages
// in a row, and to more of them the longer it is. The map of free pages takes any one of
// them, and breaks up what is in a row: where records die all over a large file, it then
// grows with every sweep, and the list with it. The array takes the first ones, and
// leaves what is in a row at the end.
func options(timeout time.Duration) *bbolt.Options {
	return &bbolt.Options{
		Timeout:      timeout,
		FreelistType: bbolt.FreelistArrayType,
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
		err = look.look(l.tree.file)
	}
	if err == nil {
		err = l.adopt(look)
	}
	if err != nil && l.tree.db != nil {
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
		l.tree.file, opts.InitialMmapSize = f, mapSize(f)
		return f, nil
	}
	err := guard(func() (err error) {
		l.tree.db, err = bbolt.Open(path, 0o600, opts)
		return err
	})
	if errors.Is(err, storage.ErrCorrupt) && l.tree.file != nil { // bbolt panicked with it open
		l.tree.db = nil
		err = errors.Join(err, unlock(l.tree.file), l.tree.file.Close())
	}
	return l, err
}

// adopt makes sure that the file is a store, and what it was when look saw it.
func (l *log) adopt(look *preflight) (err error) {
	t := &l.tree
	if l.info, err = t.file.Stat(); err != nil {
		return err
	}
	if !isAt(t.file, l.path) {
		return errCompacted
	}
	t.tx, t.sum, t.size = look.meta.tx, look.sum, int64(look.meta.pages*look.meta.pageSize)
	t.behind = look.meta.inTurn && (look.lost || !look.meta.mirrored)
	l.repaired, l.damaged, l.least = look.lost, look.damaged, t.size
	t.db.AllocSize = allocSize
	err = t.view(func(btx *bbolt.Tx) (err error) {
		l.schema, err = readSchema(btx)
		if err == nil {
			t.seq, err = readSeq(btx)
		}
		if err == nil && !look.damaged { // or the damage explains the difference
			err = t.sum.check(btx.Bucket(tokensBucket), t.tx, look.lost)
		}
		if err == nil || errors.Is(err, errMetaLost) {
			l.marked, l.believed = readMark(btx)
		}
		return err
	})
	if errors.Is(err, errMetaLost) && look.repair {
		l.repaired, err = true, nil
	}
	if err == nil {
		err = l.findJournal()
	}
	if err != nil {
		return err
	}
	return l.catchUp(look)
}

// findJournal finds the journal in the file, where its next frame is the first of its
// first half.
func (l *log) findJournal() error {
	t, was := &l.tree, l.journal
	err := t.view(func(btx *bbolt.Tx) (err error) {
		l.journal, err = findJournal(btx, t.file)
		return err
	})
	if err != nil {
		l.journal = was
		return err
	}
	l.journal.seq, l.journal.page, l.journal.file, l.journal.write = t.seq, was.page, was.file, was.write
	if was.file != nil {
		return nil
	}
	l.journal.write = (*journal).writeThrough
	l.journal.file, err = openToWrite(t.file)
	return err
}

// openToWrite opens f, which is open already, so that what is written is durable.
func openToWrite(f *os.File) (*os.File, error) {
	again, err := os.OpenFile(f.Name(), os.O_RDWR|writeFlag, 0)
	if err == nil && !isAt(f, f.Name()) {
		err = errors.Join(ErrReplaced, again.Close())
	}
	return again, err
}

// catchUp tells look of what the tree does not have yet, and merges it. What both meta
// pages lead to is left as it is where nothing is behind it.
func (l *log) catchUp(look *preflight) error {
	t := &l.tree
	frames, err := l.journal.after(t.seq, 0, 1)
	if err != nil {
		return err
	}
	changes, mark, _, err := changesOf(frames, math.MaxInt)
	if err != nil {
		return err
	}
	changes = lastOfEach(changes) // what is no longer so may be more than there is room for
	for i := range changes {
		if err := look.changed(&changes[i]); err != nil {
			return err
		}
	}
	if mark != nil {
		l.marked, l.believed = parseMark(mark)
	}
	l.found = t.seq
	if n := len(frames); n > 0 {
		l.found = frames[n-1].seq
	} else if look.meta.mirrored && !l.repaired {
		return nil
	}
	l.journal.seq = l.found
	if err = t.merge(frames); errors.Is(err, storage.ErrUnavailable) && !t.lost && !t.broken {
		l.mergeLater()
		err = nil
	}
	l.least = t.size
	return err
}

// mergeLater leaves what is in the journal to the first write: the disk is full, say, and
// reads need nothing of it.
func (l *log) mergeLater() {
	j, t := l.journal, &l.tree
	l.merging = newMerging(func() error { return t.mergeHalves(&j, 0, 1) })
	l.journal.left = 0
}
