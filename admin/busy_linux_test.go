package admin

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestBusyProgram: a program that listens and accepts nothing keeps its socket, and a client is
// told to try again. Only Linux tells such a program from a dead one.
func TestBusyProgram(t *testing.T) {
	path := filepath.Join(publicDir(t, 0o700), "s")
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrUnix{Name: path}), unix.Listen(fd, 1)); err != nil {
		t.Fatal(err)
	}
	for range 10 { // more than the system lets wait
		if conn, err := net.Dial("unix", path); err == nil {
			defer conn.Close()
		}
	}
	if _, err := Listen(path); !errors.Is(err, ErrRunning) {
		t.Errorf("Listen: %v", err)
	}
	if _, err := os.Lstat(path); err != nil {
		t.Errorf("the socket is gone: %v", err)
	}
	if _, err := dial(context.Background(), path); err == nil || errors.Is(err, ErrNotRunning) || !strings.Contains(err.Error(), "try again") {
		t.Errorf("dial: %v", err)
	}
}
