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

// TryLock locks f with the lock that bbolt uses. f may have the lock already. TryLock reports
// false if another open file has the lock. ErrNoLocks: the file system has no locks.
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

// Unlock gives up the lock of f. To close f is not enough where a memory map of f was left behind.
func Unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
