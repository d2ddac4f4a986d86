package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// holder returns the process that has locked the file at path, by its number and name, or "".
func holder(path string) string {
	file, ok := lockedAs(path)
	list, err := os.ReadFile("/proc/locks")
	if !ok || err != nil {
		return ""
	}
	for line := range strings.Lines(string(list)) { // 1: FLOCK  ADVISORY  WRITE 4021 08:02:1835030 0 EOF
		f := strings.Fields(line)
		if len(f) < 6 || f[5] != file || f[4] == "-1" {
			continue
		}
		name, err := os.ReadFile("/proc/" + f[4] + "/comm")
		if err != nil {
			return "process " + f[4]
		}
		return fmt.Sprintf("process %s (%s)", f[4], strings.TrimSpace(plain(string(name))))
	}
	return ""
}

// lockedAs returns how /proc/locks names the file at path: by the device of its mount, which on btrfs and
// overlayfs is not the one that stat tells, and by its inode. A kernel before Linux 5.8 does not say the mount
// of a file, and stat's device stands in for it.
func lockedAs(path string) (file string, ok bool) {
	var st unix.Statx_t
	if unix.Statx(unix.AT_FDCWD, path, 0, unix.STATX_INO|unix.STATX_MNT_ID, &st) != nil {
		return "", false
	}
	major, minor := st.Dev_major, st.Dev_minor
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if st.Mask&unix.STATX_MNT_ID == 0 || err != nil {
		mounts = nil
	}
	for line := range strings.Lines(string(mounts)) { // 27 1 254:0 / / rw,relatime - ext4 /dev/vda rw
		var id, above uint64
		var first, second uint32
		if n, _ := fmt.Sscanf(line, "%d %d %d:%d", &id, &above, &first, &second); n == 4 && id == st.Mnt_id {
			major, minor = first, second
		}
	}
	return fmt.Sprintf("%02x:%02x:%d", major, minor, st.Ino), true
}
