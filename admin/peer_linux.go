package admin

import "golang.org/x/sys/unix"

func peerUser(fd int) (uint32, error) {
	cred, err := unix.GetsockoptUcred(fd, unix.SOL_SOCKET, unix.SO_PEERCRED)
	if err != nil {
		return noUser, err
	}
	return cred.Uid, nil
}
