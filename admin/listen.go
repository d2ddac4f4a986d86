package admin

import (
	"errors"
	"fmt"
	"net"
)

var (
	// ErrRunning: a program listens at the path.
	ErrRunning = errors.New("a program listens there")

	// ErrUnsafe: another user could read or replace the socket. The text says which directory or
	// program it is, and what to do.
	ErrUnsafe = errors.New("another user could read or replace the socket")
)

// Listen opens a Unix socket at path that only programs of this user and of the superuser can
// reach. The directory of the socket must have mode 0700; Listen makes it if there is none, but
// not the directories above. The socket has mode 0600, whatever the umask of the process is. Listen
// replaces a socket that a dead program has left at path, and no other file.
//
// ErrRunning: a program listens at path; of several calls at once, one succeeds. ErrUnsafe: the
// directory is a symbolic link, belongs to another user, or is open to others. On a system other
// than Linux, macOS and FreeBSD, the error is errors.ErrUnsupported.
//
// Close of the listener removes the socket, unless another file has taken its place.
func Listen(path string) (net.Listener, error) {
	l, err := listen(path)
	if err != nil {
		return nil, fmt.Errorf("admin: cannot listen at %q: %w", path, err)
	}
	return l, nil
}
