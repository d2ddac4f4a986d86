package localfile

import (
	"errors"
	"fmt"
	"os"
	"time"
)

var (
	// ErrLocked: another open file has the lock.
	ErrLocked = errors.New("another process has the file")

	// ErrIrregular: the path leads to a directory, a pipe or a device.
	ErrIrregular = errors.New("not a regular file")

	// ErrNoLocks: without locks two processes would undo each other's writes.
	ErrNoLocks = errors.New("the file system has no working locks; put the file on a local disk")
)

// lockEvery is the pause between two tries to lock a file.
const lockEvery = 5 * time.Millisecond

// OpenLocked opens the regular file at path, to read and write with an exclusive lock, or with
// readOnly to read with a shared one. Where LocksEarly is false, the file has no lock.
//
// ErrLocked, after timeout, names the process that has the lock if the system tells. The other
// errors are ErrIrregular, ErrNoLocks and those of the system.
func OpenLocked(path string, readOnly bool, timeout time.Duration) (*os.File, error) {
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	if info, err := os.Stat(path); err == nil && !info.Mode().IsRegular() { // opening a pipe would wait
		return nil, ErrIrregular
	}
	for begin := time.Now(); ; time.Sleep(lockEvery) {
		f, err := os.OpenFile(path, mode, 0)
		if err != nil || !LocksEarly {
			return f, err
		}
		locked, err := TryLock(f, readOnly)
		if locked {
			if locked, err = IsAt(f, path); locked { // otherwise another file has taken its place
				return f, nil
			}
		}
		if err == nil && time.Since(begin) >= timeout {
			err = heldBy(f)
		}
		if f.Close(); err != nil {
			return nil, err
		}
	}
}

// LockWithin locks f with an exclusive lock. The errors are those of OpenLocked.
func LockWithin(f *os.File, timeout time.Duration) error {
	for begin := time.Now(); ; time.Sleep(lockEvery) {
		locked, err := TryLock(f, false)
		if locked || err != nil || !LocksEarly {
			return err
		}
		if time.Since(begin) >= timeout {
			return heldBy(f)
		}
	}
}

// heldBy returns ErrLocked, with the process that has the lock of f if the system tells.
func heldBy(f *os.File) error {
	if pid := holder(f); pid != 0 {
		return fmt.Errorf("%w: process %d", ErrLocked, pid)
	}
	return ErrLocked
}
