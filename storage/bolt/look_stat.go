//go:build !linux || !(amd64 || arm64 || riscv64 || loong64)

package bolt

import "os"

// lookAt reports whether the file at path is the one that info tells of, and how long
// it is now.
func lookAt(path string, info os.FileInfo) (same bool, size int64, err error) {
	return lookAtAll(path, info)
}
