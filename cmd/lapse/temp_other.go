//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package main

import "os"

// hasLocks: this system does not rename a file that is open.
const hasLocks = false

// lock does nothing.
func lock(*os.File) {}

// unlocked returns false: what a killed process has left stays.
func unlocked(*os.File) bool { return false }
