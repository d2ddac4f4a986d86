//go:build !(darwin || freebsd || linux)

package admin

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
)

func listen(string) (net.Listener, error) { return nil, notYet() }

func dialTrusted(context.Context, string) (net.Conn, error) { return nil, notYet() }

func runtimeDir() (string, error) { return "", notYet() }

func peerUser(int) (uint32, error) { return noUser, notYet() }

// notYet returns errors.ErrUnsupported, with the name of the system.
func notYet() error {
	return fmt.Errorf("the socket is not there yet on %s, only on Linux, macOS and FreeBSD: %w", runtime.GOOS, errors.ErrUnsupported)
}
