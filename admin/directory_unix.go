//go:build darwin || freebsd || linux

package admin

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/seed-55daa01a/lapse/internal/localfile"
)

// mostPath is how many bytes the path of a socket may have. The system keeps the path and a zero
// byte in a field of fixed size.
const mostPath = len(unix.RawSockaddrUnix{}.Path) - 1

var errNoPath = errors.New("the path is empty; name one, or ask admin.DefaultPath")

// socketPath returns the absolute path of the socket at path.
func socketPath(path string) (string, error) {
	if path == "" {
		return "", errNoPath
	}
	path, err := filepath.Abs(path)
	if err == nil && len(path) > mostPath {
		err = fmt.Errorf("%q has %d bytes, and a socket's path has at most %d; choose a shorter one", path, len(path), mostPath)
	}
	return path, err
}

// runtimeDir returns the directory of this user's sockets.
func runtimeDir() (string, error) {
	uid := strconv.Itoa(os.Geteuid())
	for _, dir := range []string{os.Getenv("XDG_RUNTIME_DIR"), "/run/user/" + uid} {
		if !filepath.IsAbs(dir) { // the specification of XDG_RUNTIME_DIR says: ignore it
			continue
		}
		if info, err := os.Stat(dir); err == nil && isPrivate(info) == nil { // after su, it is another user's
			return filepath.Join(dir, "lapse"), nil
		}
	}
	return filepath.Join(os.TempDir(), "lapse-"+uid), nil
}

// lockPatience is how long openPrivate waits for the lock. A Listen has it for milliseconds.
const lockPatience = 5 * time.Second

// openPrivate makes the directory dir if there is none, and opens, checks and locks it. Only one
// Listen at a time has the lock. Close of the file gives up the lock.
func openPrivate(dir string) (*os.File, error) {
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("%w; make that directory with mode 0700", err)
	}
	f, err := os.OpenFile(dir, os.O_RDONLY|unix.O_DIRECTORY|unix.O_NOFOLLOW, 0)
	if err != nil {
		return nil, whyClosed(dir, err)
	}
	info, err := f.Stat()
	if err == nil {
		err = isPrivate(info)
	}
	if err == nil {
		err = lockDirectory(f)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("directory %q: %w", dir, err)
	}
	return f, nil
}

// lockDirectory waits until no other Listen has the lock of f, and takes it.
func lockDirectory(f *os.File) error {
	if err := localfile.LockWithin(f, lockPatience); err != nil {
		return fmt.Errorf("it cannot be locked: %w; try again when no other program opens a socket there", err)
	}
	return nil
}

// whyClosed returns why dir could not be opened. err is the system's reason.
func whyClosed(dir string, err error) error {
	info, statErr := os.Lstat(dir)
	switch {
	case statErr != nil:
		return err
	case info.Mode().Type() == fs.ModeSymlink:
		return fmt.Errorf("%w: directory %q is a symbolic link; name the directory itself", ErrUnsafe, dir)
	}
	if why := isPrivate(info); why != nil {
		return fmt.Errorf("directory %q: %w", dir, why)
	}
	return err
}

// isPrivate returns nil if info is that of a directory of this user that is closed to all others.
func isPrivate(info fs.FileInfo) error {
	switch mode := info.Mode().Perm(); {
	case !info.IsDir():
		return fmt.Errorf("%w; choose another path", unix.ENOTDIR)
	case owner(info) != os.Geteuid():
		return fmt.Errorf("%w: it belongs to user %d; choose a directory of user %d", ErrUnsafe, owner(info), os.Geteuid())
	case mode != 0o700:
		return fmt.Errorf("%w: its mode is %#o; chmod it to 0700, or choose a directory that does not exist yet", ErrUnsafe, mode)
	}
	return nil
}

// isTrusted returns nil if only this user and the superuser can put a socket into the directory of
// info.
func isTrusted(info fs.FileInfo) error {
	switch mode := info.Mode().Perm(); {
	case owner(info) != os.Geteuid() && owner(info) != superuser:
		return fmt.Errorf("%w: it belongs to user %d; run this as that user", ErrUnsafe, owner(info))
	case mode&0o022 != 0:
		return fmt.Errorf("%w: its mode is %#o; have the program listen in a directory of mode 0700", ErrUnsafe, mode)
	}
	return nil
}

// superuser is the user that no mode keeps out.
const superuser = 0

// owner returns the user to whom a file belongs, and -1 if the system does not tell.
func owner(info fs.FileInfo) int {
	if stat, ok := info.Sys().(*syscall.Stat_t); ok {
		return int(stat.Uid)
	}
	return -1
}
