package localfile

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// holder returns the process that has the lock of f, or 0 if the system does not tell.
func holder(f *os.File) int {
	var st unix.Stat_t
	list, err := os.ReadFile("/proc/locks")
	if err != nil || unix.Fstat(int(f.Fd()), &st) != nil {
		return 0
	}
	file := fmt.Sprintf("%02x:%02x:%d", unix.Major(st.Dev), unix.Minor(st.Dev), st.Ino)
	for line := range strings.Lines(string(list)) {
		var number, kind, advice, access, where string
		var pid int
		n, _ := fmt.Sscan(line, &number, &kind, &advice, &access, &pid, &where)
		if n == 6 && kind == "FLOCK" && where == file && pid > 0 && pid != os.Getpid() {
			return pid
		}
	}
	return 0
}
