//go:build !linux

package bolt

import "os"

// syncData makes what was written over the old content of f durable.
func syncData(f *os.File) error { return f.Sync() }

// Here what is written has to be synced.
const (
	writeFlag     = 0
	writesThrough = false
)
