package bolt

import (
	"syscall"
	"testing"
)

// untilClosed returns a function that waits until a descriptor of path has been closed since: an Open has tried
// to lock the file, and waits.
func untilClosed(t *testing.T, path string) (wait func()) {
	t.Helper()
	fd, err := syscall.InotifyInit1(syscall.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if _, err := syscall.InotifyAddWatch(fd, path, syscall.IN_CLOSE); err != nil {
		t.Fatal(err)
	}
	return func() {
		if _, err := syscall.Read(fd, make([]byte, 4096)); err != nil {
			t.Fatal(err)
		}
	}
}
