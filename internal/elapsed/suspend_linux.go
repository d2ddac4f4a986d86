package elapsed

import (
	"syscall"
	"time"
	"unsafe"
)

// Suspended returns two bounds of how long the machine has been suspended since it was started.
// That is how far CLOCK_BOOTTIME is ahead of CLOCK_MONOTONIC, which stands still while the
// machine is suspended. The bounds differ because the clocks are read one after the other.
func Suspended() (least, most time.Duration) {
	const clockMonotonic, clockBoottime = 1, 7
	before, ok1 := kernelClock(clockMonotonic)
	boot, ok2 := kernelClock(clockBoottime)
	after, ok3 := kernelClock(clockMonotonic)
	if !ok1 || !ok2 || !ok3 {
		return 0, 0
	}
	return boot - after, boot - before
}

func kernelClock(id uintptr) (time.Duration, bool) {
	var ts syscall.Timespec
	_, _, errno := syscall.RawSyscall(syscall.SYS_CLOCK_GETTIME, id, uintptr(unsafe.Pointer(&ts)), 0)
	return time.Duration(ts.Nano()), errno == 0
}
