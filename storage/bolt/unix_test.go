//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package bolt

import "syscall"

func umask(mask int) int { return syscall.Umask(mask) }

func mkfifo(path string) error { return syscall.Mkfifo(path, 0o600) }
