//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package localfile

import "os"

// LocksEarly: TryLock does not work here.
const LocksEarly = false

// TryLock does nothing.
func TryLock(*os.File, bool) (bool, error) { return false, nil }

// Unlock does nothing: on this system the lock ends when the file is closed.
func Unlock(*os.File) error { return nil }
