package main

import (
	"fmt"

	"github.com/seed-55daa01a/lapse/storage"
)

// inUseError is the error for a file that a process has open.
type inUseError string

func (e inUseError) Error() string { return string(e) }
func (e inUseError) Unwrap() error { return storage.ErrLocked }

// inUse returns the error for a file that a process has open which does not answer. why is nil if it serves
// no socket.
func inUse(path string, why error) error {
	if why != nil {
		return inUseError(fmt.Sprintf("%s has %s open, and cannot be asked: %v", whoHas(path), path, why))
	}
	return inUseError(fmt.Sprintf("%s has %s open, and serves no socket where this command looks for it; run this as the user of that process, let it call admin.Serve, name its socket with --socket, or stop it", whoHas(path), path))
}

// stopFirst returns the error for a file that must not be open for what was asked for.
func stopFirst(path string) error {
	return inUseError(fmt.Sprintf("%s has %s open; stop it first", whoHas(path), path))
}

// whoHas returns who has the file at path open.
func whoHas(path string) string {
	if found := holder(path); found != "" {
		return found
	}
	return "another process"
}
