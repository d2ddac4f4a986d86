//go:build darwin || freebsd || linux

package admin

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
)

// bothEnds returns both ends of a connection through the network and address.
func bothEnds(t *testing.T, network, address string) (dialled, accepted net.Conn) {
	t.Helper()
	l, err := net.Listen(network, address)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if dialled, err = net.Dial(network, l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	if accepted, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dialled.Close(); accepted.Close() })
	return dialled, accepted
}

// TestPeer: both ends of a Unix socket learn the other's user, also after the other has gone. Any
// other connection is refused.
func TestPeer(t *testing.T) {
	dialled, accepted := bothEnds(t, "unix", filepath.Join(publicDir(t, 0o700), "s"))
	for _, conn := range []net.Conn{dialled, accepted} {
		if uid, err := peer(conn); uid != os.Geteuid() || err != nil {
			t.Errorf("user %d, %v", uid, err)
		}
	}
	dialled.Close()
	if uid, err := peer(accepted); uid != os.Geteuid() || err != nil {
		t.Errorf("the other end is closed: user %d, %v", uid, err)
	}
	if _, err := peer(dialled); !errors.Is(err, errUnreadable) || !errors.Is(err, net.ErrClosed) {
		t.Errorf("closed: %v", err)
	}
	tcp, _ := bothEnds(t, "tcp", "127.0.0.1:0")
	pipe, _ := net.Pipe()
	for _, conn := range []net.Conn{nil, tcp, pipe, struct{ net.Conn }{accepted}} {
		if _, err := peer(conn); !errors.Is(err, errNoPeer) {
			t.Errorf("%T: %v", conn, err)
		}
	}
}

// TestPeerUnread: a descriptor that has no peer gives an error and no user.
func TestPeerUnread(t *testing.T) {
	file, err := os.Open(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	if user, err := peerUser(int(file.Fd())); err == nil || user != noUser {
		t.Errorf("user %d, %v", user, err)
	}
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(publicDir(t, 0o700), "s"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	if uid, err := peer(datagrams); !errors.Is(err, errUnreadable) {
		t.Errorf("not connected: user %d, %v", uid, err)
	}
}
