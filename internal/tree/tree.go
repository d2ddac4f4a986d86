package tree

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
	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/turn"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// Tree is the bbolt file of a store. Only a goroutine that holds Turn uses a Tree, except Length.
type Tree struct {
	Turn *turn.Turn

	opened
	Path string // absolute, with all links followed
	temp bool   // the file will get another name

	Length atomic.Int64 // of the file when it was last looked at

	Reader *Reading // the last one; nil: there was none

	CommitTx func(*bbolt.Tx) error // bbolt's Commit and Sync; tests replace them by a disk that fails
	SyncDB   func(*bbolt.DB) error
}

var (
	errOverwritten = fmt.Errorf("%w: another program has written to it", fault.ErrReplaced)
	errCut         = fmt.Errorf("%w: it was cut short", fault.ErrReplaced)
	errReopened    = fmt.Errorf("%w: the file had to be opened again; try again", storage.ErrUnavailable)
)

// opened is the file of a tree as bbolt has it open.
type opened struct {
	File  *os.File    // bbolt's own, locked
	Info  os.FileInfo // of the file; Check compares it with the file at Path
	DB    *bbolt.DB   // nil: bbolt does not have it open
	State wire.State  // as the last transaction wrote it
	tried uint64      // the State.Tx of the last transaction that was begun
	head  boltfile.Head
	size  int64 // the file has at least so many bytes, unless it was cut
	space int   // length of bbolt's map of the file

	Suspect error // why bbolt has to be opened again before it is used; nil: it need not
	broken  bool  // bbolt panicked and may hold its locks for ever
}

// New returns the tree in the file f, which is at path. bbolt does not have f open yet.
func New(f *os.File, path string) *Tree {
	return &Tree{Turn: turn.New(), opened: opened{File: f}, Path: path, CommitTx: (*bbolt.Tx).Commit, SyncDB: (*bbolt.DB).Sync}
}

// allocSize returns the least number of bytes by which bbolt lets a file of that size grow.
func allocSize(size int64) int { return int(max(16<<10, min(size/16, 16<<20))) }

// mapSize returns the length of bbolt's map of a file of that size. Addresses cost no memory, so
// the map is four times the file and at least 64 MB. A longer map makes a short opening slow: by
// 512 MB, a store in memory took 1.2 times as long to open, issue and close. Where a map makes its
// file longer, or addresses are scarce, the map is twice the file and at least 1 MB.
func mapSize(size int64) int {
	if runtime.GOOS == "windows" || strconv.IntSize < 64 {
		return int(max(1<<20, 2*size))
	}
	return int(max(1<<26, 4*size))
}

// Open has bbolt open t.File. The file is locked, and it is new or has passed boltfile.Walk. After
// an error t.File is closed and t.DB is nil.
func (t *Tree) Open() error {
	info, err := t.File.Stat()
	if err != nil {
		return errors.Join(err, t.File.Close())
	}
	t.space = max(t.space, mapSize(info.Size()))
	opts := &bbolt.Options{
		Timeout: time.Second, NoStatistics: true, PageSize: pageSize, InitialMmapSize: t.space,
		NoFreelistSync: true,                    // see repeatMeta; and bbolt would commit while it opens a file without the list
		FreelistType:   bbolt.FreelistArrayType, // the other type breaks up free pages that lie in a row (TestChurnOfAny)
		OpenFile:       func(string, int, os.FileMode) (*os.File, error) { return t.File, nil },
	}
	err = guard(func() (err error) {
		t.DB, err = bbolt.Open(t.Path, 0o600, opts)
		return err
	})
	if err != nil {
		t.DB = nil
		localfile.Unlock(t.File) // as bbolt does itself unless it panicked
		t.File.Close()
		return err
	}
	t.DB.AllocSize = allocSize(info.Size()) // of bbolt's own transactions; transact sets it for ours
	t.DB.MaxSize = t.space                  // or bbolt would map the file again, and wait for a Reading
	t.broken, t.Info, t.size = false, info, info.Size()
	t.Length.Store(t.size)
	if t.Suspect = t.noteHead(); t.Suspect != nil {
		return errors.Join(t.Suspect, t.Release())
	}
	return nil
}

// pageSize is the size of a page in new files. bbolt's default is the system's page size: where
// that is 64 KiB, the smallest file would be 16 times as large.
const pageSize = 4096

// noteHead notes the meta pages of the file in t.head, for Check.
func (t *Tree) noteHead() (err error) {
	t.head, err = boltfile.ReadHead(t.File, uint64(t.DB.Info().PageSize))
	return err
}

// ready has bbolt open the file again if it must, and returns why nothing may be written, or nil.
func (t *Tree) ready() error { return cmp.Or(t.reopen(), t.Check()) }

// Check returns why nothing may be written, or nil. A write to a file that is not at its path any
// more would be lost. A write to a file that another program has changed or cut would damage the
// file.
func (t *Tree) Check() error {
	same, size, err := localfile.Look(t.Path, t.Info)
	switch {
	case errors.Is(err, os.ErrNotExist), err == nil && !same:
		return fault.ErrReplaced
	case err != nil:
		return err
	case size < t.size:
		return errCut
	}
	t.Length.Store(size)
	if t.Suspect != nil {
		return nil
	}
	head, err := boltfile.ReadHead(t.File, uint64(t.DB.Info().PageSize))
	if err == nil && head != t.head {
		err = errOverwritten
	}
	return err
}

// reopen has bbolt open the file again if t.Suspect is set: bbolt's memory and the file may differ.
// The map is t.space long, or longer.
func (t *Tree) reopen() error {
	if t.Suspect == nil {
		return nil
	}
	t.Release() // its error does not matter: the file is opened again
	f, err := localfile.OpenLocked(t.Path, false, time.Second)
	if err != nil {
		return fmt.Errorf("%w: the file cannot be opened again: %w", storage.ErrUnavailable, err)
	}
	t.File = f
	if info, err := f.Stat(); err != nil || !os.SameFile(info, t.Info) {
		return errors.Join(cmp.Or(err, fault.ErrReplaced), f.Close())
	}
	if err := t.Open(); err != nil {
		return err
	}
	t.Suspect = t.readState()
	return t.Suspect
}

// readState reads the state to which the newest meta page leads. It is the state t.State, or that of
// a commit of unknown outcome after it; for another state the error is errOverwritten.
func (t *Tree) readState() error {
	metas, err := boltfile.ReadMetas(t.File, t.Info.Size())
	if err != nil {
		return err
	}
	st, err := ReadState(t.File, metas.Newest)
	if err == nil && st.Tx != t.State.Tx && st.Tx != t.tried {
		return errOverwritten
	}
	if err == nil {
		t.State = st
	}
	return err
}

// Release cuts the Reading off and has bbolt close the file. If bbolt does not have
// the file open, Release does nothing.
func (t *Tree) Release() error {
	if t.DB == nil {
		return nil
	}
	t.Cut(errReopened)
	db := t.DB
	t.DB = nil
	if t.broken {
		return errors.Join(localfile.Unlock(t.File), t.File.Close())
	}
	return guard(db.Close)
}

// begin begins a transaction of bbolt.
func (t *Tree) begin(writable bool) (btx *bbolt.Tx, err error) {
	err = t.guardTx(func() error {
		btx, err = t.DB.Begin(writable)
		return err
	})
	return btx, err
}

// rollback ends btx, which may be nil, or committed. Where bbolt is broken, rollback does nothing:
// the end of btx could wait for ever.
func (t *Tree) rollback(btx *bbolt.Tx) error {
	if btx == nil || t.broken {
		return nil
	}
	err := t.guardTx(btx.Rollback)
	if errors.Is(err, berrors.ErrTxClosed) {
		return nil
	}
	return err
}

// guardTx is guard for an f that begins or ends a transaction. After a panic of such an f bbolt
// holds locks for ever, so it has to open the file again.
func (t *Tree) guardTx(f func() error) error {
	err := guard(f)
	if errors.Is(err, errPanicked) {
		t.broken, t.Suspect = true, err
		t.Cut(errReopened) // otherwise the Backup would wait for these locks once its writer returns
	}
	return err
}
