package bolt

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"sync/atomic"
	"time"

	"go.etcd.io/bbolt"
	berrors "go.etcd.io/bbolt/errors"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/turn"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// tree is the bbolt file. Only a goroutine that holds its turn uses it.
type tree struct {
	turn *turn.Turn

	opened
	path string // absolute, with all links followed
	temp bool   // the file is to get another name

	length atomic.Int64 // of the file when it was last looked at, for Stats and logLimit

	reader *reading // of the last Backup; nil: there was none

	commitTx func(*bbolt.Tx) error // Commit; tests put a disk that fails in its place
}

// opened is the file of a tree as bbolt has it open.
type opened struct {
	file  *os.File    // bbolt's own, locked
	info  os.FileInfo // of the file, to know it by
	db    *bbolt.DB   // nil: bbolt does not have it open
	pin   *bbolt.Tx   // reads the state before the last transaction; nil: nothing is pinned
	state wire.State  // as the last transaction wrote it
	head  boltfile.Head
	size  int64 // what was written ends here: a shorter file was cut
	space int   // length of bbolt's map of the file

	lost   error // why bbolt has to be opened again before it is used; nil: it need not
	broken bool  // bbolt panicked and may hold its locks for ever
}

// newTree returns the tree in f, which is at path and which bbolt does not have open yet.
func newTree(f *os.File, path string) *tree {
	return &tree{turn: turn.New(), opened: opened{file: f}, path: path, commitTx: (*bbolt.Tx).Commit}
}

// allocSize returns the least number of bytes by which bbolt lets a file of that size grow.
func allocSize(size int64) int { return int(max(16<<10, min(size/16, 16<<20))) }

// mapSize returns the length of bbolt's map of a file of that size. Addresses cost no memory, so
// the map is large, though less than 1 GB, whose page tables a short opening would pay for. Where
// a map makes its file longer, or addresses are scarce, the map is twice the file, or 1 MB.
func mapSize(size int64) int {
	if runtime.GOOS == "windows" || strconv.IntSize < 64 {
		return int(max(1<<20, 2*size))
	}
	return int(max(1<<29, 4*size))
}

// open has bbolt use t.file, which is locked and has passed boltfile.Walk. If bbolt cannot open
// it, t.file is closed and t.db nil. After an error of reading the meta pages bbolt has the file
// open: the caller calls release.
func (t *tree) open() error {
	info, err := t.file.Stat()
	if err != nil {
		return errors.Join(err, t.file.Close())
	}
	t.space = max(t.space, mapSize(info.Size()))
	opts := &bbolt.Options{
		Timeout: time.Second, NoStatistics: true, PageSize: pageSize, InitialMmapSize: t.space,
		NoFreelistSync: true,                    // commit decides; without, Open itself would commit after a crash
		FreelistType:   bbolt.FreelistArrayType, // the other type breaks up free pages that lie in a row (TestChurnOfAny)
		OpenFile:       func(string, int, os.FileMode) (*os.File, error) { return t.file, nil },
	}
	err = guard(func() (err error) {
		t.db, err = bbolt.Open(t.path, 0o600, opts)
		return err
	})
	if err != nil {
		t.db = nil
		localfile.Unlock(t.file) // as bbolt does itself unless it panicked
		t.file.Close()
		return err
	}
	t.db.AllocSize = allocSize(info.Size()) // of bbolt's own transactions; commit sets it for ours
	t.db.MaxSize = t.space                  // or bbolt would map the file again, and wait for the pin for ever
	t.broken, t.info, t.size = false, info, info.Size()
	t.length.Store(t.size)
	if t.lost = t.look(); t.lost != nil {
		return errors.Join(t.lost, t.release())
	}
	return nil
}

// pageSize is the size of a page in new files. bbolt's default is the system's page size: where
// that is 64 KiB, the smallest file would be 16 times as large.
const pageSize = 4096

// look notes the meta pages of the file in t.head, for check.
func (t *tree) look() (err error) {
	t.head, err = boltfile.ReadHead(t.file, uint64(t.db.Info().PageSize))
	return err
}

// ready opens the file again if that has to be, and says why nothing may be written, or returns
// nil.
func (t *tree) ready() error { return cmp.Or(t.reopen(), t.check()) }

// check says why nothing may be written, or returns nil. A write to a file that is not at its
// path any more would be lost, and one to a file that another program has changed or cut would
// damage it.
func (t *tree) check() error {
	same, size, err := localfile.Look(t.path, t.info)
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && !same:
		return ErrReplaced
	case err != nil:
		return err
	case size < t.size:
		return errCut
	}
	t.length.Store(size)
	if t.lost != nil {
		return nil
	}
	head, err := boltfile.ReadHead(t.file, uint64(t.db.Info().PageSize))
	if err == nil && head != t.head {
		err = errOverwritten
	}
	return err
}

// reopen has bbolt open the file again, with a larger map if it wants one, if an error may have
// left bbolt's memory and the file apart.
func (t *tree) reopen() error {
	if t.lost == nil {
		return nil
	}
	t.release() // its error does not matter: the file is opened again
	f, err := localfile.OpenLocked(t.path, false, time.Second)
	if err != nil {
		return fmt.Errorf("%w: the file cannot be opened again: %w", storage.ErrUnavailable, err)
	}
	t.file = f
	if info, err := f.Stat(); err != nil || !os.SameFile(info, t.info) {
		return errors.Join(cmp.Or(err, ErrReplaced), f.Close())
	}
	if err := t.open(); err != nil {
		return err
	}
	t.lost = t.readState()
	return t.lost
}

// readState reads the state that the newest meta page leads to: the one that is known, or that
// of a commit of unknown outcome after it.
func (t *tree) readState() error {
	metas, err := boltfile.ReadMetas(t.file, t.info.Size())
	if err != nil {
		return err
	}
	st, err := readState(t.file, metas.Newest)
	if err == nil && st.Tx != t.state.Tx && st.Tx != t.state.Tx+1 {
		return errOverwritten
	}
	if err == nil {
		t.state = st
	}
	return err
}

// release cuts a Backup off, ends the pin and has bbolt close the file, if bbolt has it open.
func (t *tree) release() error {
	if t.db == nil {
		return nil
	}
	t.cut(errReopened)
	err := t.rollback(t.pin)
	db := t.db
	t.db, t.pin = nil, nil
	if t.broken {
		return errors.Join(localfile.Unlock(t.file), t.file.Close())
	}
	return errors.Join(err, guard(db.Close))
}

// begin begins a transaction of bbolt.
func (t *tree) begin(writable bool) (btx *bbolt.Tx, err error) {
	err = t.edge(func() error {
		btx, err = t.db.Begin(writable)
		return err
	})
	return btx, err
}

// rollback ends btx, which may be nil, or committed. Where bbolt is broken, rollback leaves btx: it
// could wait for ever.
func (t *tree) rollback(btx *bbolt.Tx) error {
	if btx == nil || t.broken {
		return nil
	}
	err := t.edge(btx.Rollback)
	if errors.Is(err, berrors.ErrTxClosed) {
		return nil
	}
	return err
}

// edge is guard for an f that begins or ends a transaction. After a panic there bbolt holds
// locks that it never gives back, and has to be left.
func (t *tree) edge(f func() error) error {
	err := guard(f)
	if errors.Is(err, errPanicked) {
		t.broken, t.lost = true, err
		t.cut(errReopened) // or the Backup would wait for these locks once its writer returns
	}
	return err
}
