package admin

import (
	"crypto/sha256"
	"fmt"
	"path/filepath"

	"github.com/seed-55daa01a/lapse/internal/localfile"
)

// DefaultPath returns the path of the socket of the program that has the store at file open. The
// program and its clients compute the same path if they run as the same user: the socket's name is a
// hash of the path of the file after all symbolic links. The file need not exist, but its directory
// must. On a file system that ignores case, both sides must write the path in the same case.
//
// The socket is in the directory lapse of $XDG_RUNTIME_DIR. If that is no directory of mode 0700 of
// this user, the directory lapse of /run/user/UID takes its place, and then lapse-UID of
// os.TempDir(). DefaultPath makes no directory. On a system other than Linux, macOS and FreeBSD, the
// error is errors.ErrUnsupported.
func DefaultPath(file string) (string, error) {
	real, err := localfile.Resolve(file)
	if err != nil {
		return "", fmt.Errorf("admin: no default socket for the file %q: %w; name the file in a directory that exists", file, err)
	}
	dir, err := runtimeDir()
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256([]byte(real))
	return filepath.Join(dir, fmt.Sprintf("%x.sock", sum[:10])), nil // short, for the temporary directories of macOS are long
}
