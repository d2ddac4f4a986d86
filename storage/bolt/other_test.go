//go:build !(darwin || dragonfly || freebsd || linux || netbsd || openbsd)

package bolt

import "errors"

func umask(mask int) int { return mask }

func mkfifo(string) error { return errors.ErrUnsupported }
