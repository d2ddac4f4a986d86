package bolt

import (
	"os"
	"syscall"
)

// syncData makes what was written over the old content of f durable.
func syncData(f *os.File) error {
	for {
		err := syscall.Fdatasync(int(f.Fd()))
		if err != syscall.EINTR {
			return os.NewSyscallError("fdatasync", err)
		}
	}
}

// A file that is open with writeFlag has what is written to it made durable by that,
// and nothing else of the file with it.
const (
	writeFlag     = syscall.O_DSYNC
	writesThrough = true
)
