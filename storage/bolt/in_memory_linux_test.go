package bolt

import "syscall"

// folderInMemory returns a folder on a file system in memory that has room for the tests of
// this package, "" if the machine has none.
func folderInMemory() string {
	const folder, room = "/dev/shm", 2 << 30
	var st syscall.Statfs_t
	if err := syscall.Statfs(folder, &st); err != nil || st.Bavail*uint64(st.Bsize) < room {
		return ""
	}
	return folder
}
