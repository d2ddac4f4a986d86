package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"syscall"
)

// holder returns the process that has locked the file at path, by its number and name, or "".
func holder(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return ""
	}
	inode, ok := info.Sys().(*syscall.Stat_t)
	locks, err := os.Open("/proc/locks")
	if !ok || err != nil {
		return ""
	}
	defer locks.Close()
	for s := bufio.NewScanner(locks); s.Scan(); { // 1: FLOCK  ADVISORY  WRITE 4021 08:02:1835030 0 EOF
		f := strings.Fields(s.Text())
		if len(f) < 6 || !strings.HasSuffix(f[5], fmt.Sprintf(":%d", inode.Ino)) || f[4] == "-1" {
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
