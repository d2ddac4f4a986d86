//go:build !linux

package localfile

import "os"

// Look reports whether the file at path is the file of info, and how long the file at path is now.
func Look(path string, info os.FileInfo) (same bool, size int64, err error) {
	return lookAll(path, info)
}

// IsMounted reports false: this system does not tell.
func IsMounted(string) bool { return false }
