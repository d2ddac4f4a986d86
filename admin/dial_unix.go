//go:build darwin || freebsd || linux

package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"
)

func dialTrusted(ctx context.Context, path string) (net.Conn, error) {
	path, err := socketPath(path)
	if err != nil {
		return nil, err
	}
	if err := checkSocket(path); err != nil {
		return nil, whyNot(err)
	}
	conn, err := connectUnix(ctx, path)
	if err != nil {
		return nil, whyNot(err)
	}
	if err := checkServer(conn); err != nil {
		conn.Close()
		return nil, err
	}
	return conn, nil
}

// checkSocket returns nil if there is a socket at path, in a directory that isTrusted.
func checkSocket(path string) error {
	dir := filepath.Dir(path)
	info, err := os.Stat(dir)
	if err != nil {
		return err
	}
	if err := isTrusted(info); err != nil {
		return fmt.Errorf("directory %q: %w", dir, err)
	}
	info, err = os.Lstat(path)
	if err == nil && info.Mode().Type() != fs.ModeSocket {
		err = fmt.Errorf("the file there is not a socket (%v); name the socket of the program", info.Mode())
	}
	return err
}

// checkServer returns nil if the program at the other end of conn runs as this user or as the
// superuser. It finds another user's socket also where the directory was replaced after checkSocket.
func checkServer(conn net.Conn) error {
	switch uid, err := peer(conn); {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrUnsafe, err)
	case uid != os.Geteuid() && uid != superuser:
		return fmt.Errorf("%w: the program there runs as user %d; run this as that user", ErrUnsafe, uid)
	}
	return nil
}

// connectUnix connects to the Unix socket at path.
func connectUnix(ctx context.Context, path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(ctx, "unix", path)
}

// whyNot returns err with what it means for the caller of dial.
func whyNot(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("%w (%w)", ErrNotRunning, err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%w; run this as the user of the program", err)
	case errors.Is(err, unix.EAGAIN):
		return fmt.Errorf("%w; the program accepts no connections at present, so try again", err)
	}
	return err
}
