//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package bolt

import (
	"errors"
	"os"
	"syscall"
)

// locksEarly: a file can be locked before bbolt has it.
const locksEarly = true

// tryLock takes the lock that bbolt will take, on the same open file, where taking
// it twice is taking it once. It reports false if another open file has it.
func tryLock(f *os.File) (bool, error) {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return false, nil
	}
	return err == nil, err
}

// unlock gives up the lock on f. Closing f does not where bbolt has panicked: the
// memory map that it left behind keeps the open file alive, and the lock with it.
func unlock(f *os.File) error { return syscall.Flock(int(f.Fd()), syscall.LOCK_UN) }
