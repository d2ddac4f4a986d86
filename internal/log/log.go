package log

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/internal/localfile"
)

// ID is the identity of a log.
type ID [16]byte

// NewID returns a random ID.
func NewID() (id ID) {
	rand.Read(id[:]) // it never fails
	return id
}

// Parent says what the database had when the log was made: the ID of the log that the
// database named then, and the number up to which that log was merged.
type Parent struct {
	Log    ID
	Merged uint64
}

var (
	// ErrDamaged: the file is not as this package wrote it, or groups are missing.
	// Groups that were acknowledged may be lost. Nothing has been changed.
	ErrDamaged = errors.New("the log is damaged; restore a backup, or move the log aside and repair the store")
	// ErrNewer: a later version of this package made the log. Nothing has been changed.
	ErrNewer = errors.New("the log was made by a newer version; open it with that version")
	// ErrUnfinished: a crash came while the log was made. Nothing was ever appended.
	ErrUnfinished = errors.New("the log was not made to the end; it holds nothing and can be removed")
	// ErrFull: the log has no room within its limit. Nothing was written.
	ErrFull = errors.New("the log is full; free the merged groups and append again")
	// ErrUnknown: the group may or may not count if the process ends now.
	ErrUnknown = errors.New("it is unknown whether the group counts; the next append settles that")
	// ErrReplaced: the path no longer leads to the open file, or the file was cut short.
	ErrReplaced = errors.New("another program moved, replaced or cut the log; close it and open it again")

	errOrder = errors.New("log: call Replay once, between Open and the first Append")
)

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{ErrDamaged}, args...)...)
}

// disk is an open file. Write makes b durable at the place at. Where Write returns an
// error, it may have written any part of b. Truncate is not durable.
type disk interface {
	ReadAt(b []byte, at int64) (int, error)
	Write(b []byte, at int64) error
	Truncate(size int64) error
	Close() error
}

// Log is an open log. Its methods may be called from several goroutines. Append, Check,
// Replay, Close and Remove wait for each other; the others wait for none of these.
type Log struct {
	head
	disk     disk
	path     string
	info     os.FileInfo // of the file when it was opened
	readOnly bool

	writing sync.Mutex // held while the disk works; taken before mu
	closed  bool
	ready   bool   // to append
	buf     []byte // at most a slot
	serial  uint64 // the highest serial that was tried
	pos     int    // of the next frame in the current slot
	begun   []byte // the bytes before pos in the block that pos is in
	ended   bool   // no frame may follow in the current slot
	limit   int64  // of the last Append

	last  atomic.Uint64
	tried atomic.Uint64

	mu    sync.Mutex // never held while the disk works
	slots []slot
	cur   int // the slot with the highest serial, -1 if none was begun
	freed uint64
}

func newLog(h head, d disk, slots int) *Log {
	return &Log{head: h, disk: d, slots: make([]slot, slots), cur: -1, ended: true, limit: math.MaxInt64}
}

// ID returns the identity of the log.
func (l *Log) ID() ID { return l.head.ID }

// Parent returns the Parent with which the log was made.
func (l *Log) Parent() Parent { return l.head.Parent }

// Last returns the number of the last group that counts.
func (l *Log) Last() uint64 { return l.last.Load() }

// Highest returns the highest number of a frame that was ever tried, void or not. No frame
// that is in the file now and has a larger number can ever count. After Replay, Highest is
// not less than it was before the log was closed or the process ended.
func (l *Log) Highest() uint64 { return l.tried.Load() }

// usable returns why Replay cannot be called, or, with write, why Append cannot. It returns
// nil if the call may go on. l.writing is held.
func (l *Log) usable(write bool) error {
	switch {
	case l.closed:
		return fmt.Errorf("log: %w", os.ErrClosed)
	case write && l.readOnly:
		return fmt.Errorf("log: opened to be read only: %w", fs.ErrPermission)
	case write != l.ready:
		return errOrder
	}
	return nil
}

// Check returns ErrReplaced unless the path of the log still leads to the open file, as
// look says, and the file is at least as long as the log left it. look gets the path, and
// the FileInfo of the open file from when it was opened. Where look says that there is no
// file, the error is ErrReplaced; another error of look is returned as it is.
func (l *Log) Check(look func(path string, info os.FileInfo) (same bool, size int64, err error)) error {
	l.writing.Lock()
	defer l.writing.Unlock()
	same, size, err := look(l.path, l.info)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err != nil || !same || size < l.Size() {
		return fmt.Errorf("%w: %s", ErrReplaced, l.path)
	}
	return nil
}

// Close closes the file, which stays. A second call returns nil.
func (l *Log) Close() error {
	l.writing.Lock()
	defer l.writing.Unlock()
	if l.closed {
		return nil
	}
	l.closed = true
	return l.disk.Close()
}

// Remove closes the log and removes its file, durably. It returns nil if there is no file
// any more, and ErrReplaced, with nothing removed, if the path leads to another file.
func (l *Log) Remove() error {
	if l.readOnly {
		return fmt.Errorf("log: opened to be read only: %w", fs.ErrPermission)
	}
	l.Close() // its error does not matter: all acknowledged groups are durable already
	info, err := os.Stat(l.path)
	if err == nil {
		if !os.SameFile(info, l.info) {
			return fmt.Errorf("%w: %s", ErrReplaced, l.path)
		}
		err = os.Remove(l.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return localfile.SyncDir(filepath.Dir(l.path))
}
