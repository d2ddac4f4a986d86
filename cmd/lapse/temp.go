package main

import (
	"errors"
	"fmt"
	"hash/crc32"
	"os"
	"path/filepath"
	"strings"
)

// A backup is written into a temporary file beside its target, which gets the name of the target at the end. The
// process that writes the file has locked it, and the lock ends with the process: a file without a lock is
// stale. The names and the locks are those of package bolt, which removes its own stale files by the same rule.

// tempPrefix returns how the names of the temporary files for path begin.
func tempPrefix(path string) string {
	return fmt.Sprintf(".lapse-%08x-", crc32.ChecksumIEEE([]byte(filepath.Base(path))))
}

// newTemp makes a temporary file for path, of mode 0600, and locks it until it is closed.
func newTemp(path string) (*os.File, error) {
	for range 10 {
		f, err := os.CreateTemp(filepath.Dir(path), tempPrefix(path)+"*")
		if err != nil {
			return nil, err
		}
		lock(f)
		info, err := f.Stat()
		if err != nil {
			return nil, errors.Join(err, f.Close())
		}
		if named, err := os.Lstat(f.Name()); err == nil && os.SameFile(info, named) {
			return f, nil
		}
		f.Close() // another process took it for a stale one
	}
	return nil, fmt.Errorf("another program removes files of %s as they are made; look at what cleans up that folder", filepath.Dir(path))
}

// removeStale removes the stale temporary files for path. A file that it cannot open stays.
func removeStale(path string) {
	entries, _ := os.ReadDir(filepath.Dir(path))
	for _, entry := range entries {
		if entry.Type().IsRegular() && strings.HasPrefix(entry.Name(), tempPrefix(path)) {
			removeIfStale(filepath.Join(filepath.Dir(path), entry.Name()))
		}
	}
}

// removeIfStale removes the temporary file of that name, unless a process has locked it.
func removeIfStale(name string) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	if unlocked(f) {
		os.Remove(name)
	}
}
