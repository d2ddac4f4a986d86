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
	"sync"

	"golang.org/x/sys/unix"
)

func listen(path string) (net.Listener, error) {
	path, err := socketPath(path)
	if err != nil {
		return nil, err
	}
	dir, err := openPrivate(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	defer dir.Close()
	if err := removeStale(path); err != nil {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // Close would remove any file at path
	info, err := setMode(dir, path)
	if err != nil {
		l.Close()
		return nil, err
	}
	return &listener{UnixListener: l, path: path, made: info}, nil
}

// removeStale removes the socket at path if no program listens there. The caller has locked the
// directory, so no other Listen is about to make that socket.
func removeStale(path string) error {
	info, err := os.Lstat(path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return err
	case info.Mode().Type() != fs.ModeSocket:
		return fmt.Errorf("the file there is not a socket (%v); choose another path, or remove the file", info.Mode())
	}
	conn, err := connectUnix(context.Background(), path)
	switch {
	case errors.Is(err, unix.ECONNREFUSED):
		return os.Remove(path)
	case errors.Is(err, fs.ErrNotExist): // its program has just closed it
		return nil
	case errors.Is(err, unix.EAGAIN): // it listens, and accepts no more at present
		return fmt.Errorf("%w; stop it first, or choose another path", ErrRunning)
	case err != nil:
		return fmt.Errorf("the socket there may be in use: %w; stop its program, or remove the socket", err)
	}
	defer conn.Close()
	uid, err := peer(conn)
	if err != nil {
		return fmt.Errorf("%w; stop it first, or choose another path; %w", ErrRunning, err)
	}
	return fmt.Errorf("%w as user %d; stop it first, or choose another path", ErrRunning, uid)
}

// setMode gives the new socket at path the mode 0600, and returns what it is. Until then the mode
// of dir keeps other users out. If path no longer leads to dir, the error is ErrUnsafe.
func setMode(dir *os.File, path string) (fs.FileInfo, error) {
	if err := unix.Fchmodat(int(dir.Fd()), filepath.Base(path), 0o600, 0); err != nil {
		return nil, fmt.Errorf("%w: the socket is not in the directory that was checked: %w; let no other user write to the directories above", ErrUnsafe, err)
	}
	return os.Lstat(path)
}

// listener is a Unix socket that removes its file when it is closed.
type listener struct {
	*net.UnixListener
	path string
	made fs.FileInfo // of the socket's file
	once sync.Once
}

// Close removes the socket's file and stops listening. The file is removed first: as long as the
// socket listens, no other file gets its inode, and no other Listen replaces it.
func (l *listener) Close() error {
	l.once.Do(func() {
		if at, err := os.Lstat(l.path); err == nil && os.SameFile(at, l.made) {
			os.Remove(l.path)
		}
	})
	return l.UnixListener.Close()
}
