package admin

import (
	"errors"
	"fmt"
	"net"
)

var (
	errNoPeer     = errors.New("admin: the connection is no Unix socket, so the system does not tell which user calls; serve a listener of admin.Listen")
	errUnreadable = errors.New("admin: the system does not tell which user is at the other end of the socket")
)

// noUser is the number that the system gives where it knows no user.
const noUser = ^uint32(0)

// peer returns the user at the other end of conn. Where conn was accepted, that is the user who
// called connect; where conn was dialled, the user who called listen. The number of the process
// is not used: after its end, another process may get it. After any error the connection must be refused.
//
// errNoPeer: conn is no Unix socket.
func peer(conn net.Conn) (uid int, err error) {
	unixConn, ok := conn.(*net.UnixConn)
	if !ok {
		return 0, errNoPeer
	}
	raw, err := unixConn.SyscallConn()
	if err != nil {
		return 0, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	user, unread := noUser, error(nil)
	err = raw.Control(func(fd uintptr) { user, unread = peerUser(int(fd)) })
	if err := errors.Join(err, unread); err != nil {
		return 0, fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if user == noUser {
		return 0, errUnreadable
	}
	return int(user), nil
}
