//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package bolt

import "os"

// locksEarly: see tryLock.
const locksEarly = false

// tryLock cannot take bbolt's lock beforehand here.
func tryLock(*os.File) (bool, error) { return false, nil }

// unlock does nothing: here the lock goes when the file is closed.
func unlock(*os.File) error { return nil }
