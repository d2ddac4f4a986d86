//go:build darwin || freebsd

package admin

import "golang.org/x/sys/unix"

// xucredVersion is XUCRED_VERSION of the system's headers, the only layout there has been.
const xucredVersion = 0

func peerUser(fd int) (uint32, error) {
	cred, err := unix.GetsockoptXucred(fd, unix.SOL_LOCAL, unix.LOCAL_PEERCRED)
	if err != nil {
		return noUser, err
	}
	if cred.Version != xucredVersion {
		return noUser, unix.EPROTONOSUPPORT
	}
	return cred.Uid, nil
}
