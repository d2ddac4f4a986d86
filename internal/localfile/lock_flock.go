//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package localfile

import (
	"errors"
	"fmt"
	"os"
	"syscall"
)

// LocksEarly: TryLock and Unlock work here.
const LocksEarly = true

// TryLock takes the lock with which bbolt locks a file, for f. f may have the lock already.
// TryLock reports false if another open file has it. ErrNoLocks: the file system has none.
func TryLock(f *os.File, shared bool) (bool, error) {
	how := syscall.LOCK_EX
	if shared {
		how = syscall.LOCK_SH
	}
	for {
		switch err := syscall.Flock(int(f.Fd()), how|syscall.LOCK_NB); {
		case err == nil:
			return true, nil
		case errors.Is(err, syscall.EINTR):
		case errors.Is(err, syscall.EWOULDBLOCK):
			return false, nil
		default:
			return false, fmt.Errorf("%w: %w", ErrNoLocks, err)
		}
	}
}

// Unlock gives up the lock on f. Closing f does not where a memory map that was left behind
// keeps the open file.
func Unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
