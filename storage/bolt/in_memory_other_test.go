//go:build !linux

package bolt

// folderInMemory returns "": only Linux is known to have a file system in memory.
func folderInMemory() string { return "" }
