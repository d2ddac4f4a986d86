package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
)

// ErrNotRunning: no program listens at the path.
var ErrNotRunning = errors.New("no program listens there; is it running, and does it call admin.Serve?")

// dial connects to the socket at path. The program at the other end may be sent bearers, so it must
// run as this user or as the superuser, and no other user may own the directory of the socket or
// write to it.
//
// ErrNotRunning: no program listens at path. ErrUnsafe: the directory, or the program at the other
// end, is another user's. fs.ErrPermission: this user may not connect. The other errors are those
// of ctx and of the system; errors.ErrUnsupported where Listen returns that.
func dial(ctx context.Context, path string) (net.Conn, error) {
	conn, err := dialTrusted(ctx, path)
	if err != nil {
		return nil, fmt.Errorf("admin: cannot connect to %q: %w", path, err)
	}
	return conn, nil
}
