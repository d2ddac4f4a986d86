//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package main

import (
	"os"
	"syscall"
)

// hasLocks: this system has locks that end with their process, and renames a file that is open.
const hasLocks = true

// lock locks f until it is closed. The lock is shared, so that f can be opened as a store that is read. On a
// file system without locks it does nothing, and unlocked is false for every file there.
func lock(f *os.File) {
	for syscall.Flock(int(f.Fd()), syscall.LOCK_SH) == syscall.EINTR {
	}
}

// unlocked reports whether no other open file has a lock of f.
func unlocked(f *os.File) bool {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}
