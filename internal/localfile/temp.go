package localfile

import (
	"errors"
	"fmt"
	"hash/crc32"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// TempPrefix returns the prefix of the names that NewTemp gives to files for path. The length of
// the prefix does not depend on path.
func TempPrefix(path string) string {
	return fmt.Sprintf(".lapse-%08x-", crc32.ChecksumIEEE([]byte(filepath.Base(path))))
}

var errSwept = errors.New("another program removes files as they are made; look at what cleans up the directory")

// NewTemp returns a new file of mode 0600 beside path, locked: RemoveStale removes such a file only
// if the lock is free. After an error the file is removed.
func NewTemp(path string) (*os.File, error) {
	for range 10 {
		temp, err := os.CreateTemp(filepath.Dir(path), TempPrefix(path)+"*")
		if err != nil {
			return nil, err
		}
		locked, err := TryLock(temp, false)
		there := false
		if locked || !LocksEarly {
			there, err = IsAt(temp, temp.Name())
		}
		if there {
			temp.Chmod(0o600) // the umask may have taken more; the error is ignored, since some file systems have no modes
			return temp, nil
		}
		temp.Close()
		os.Remove(temp.Name())
		if err != nil {
			return nil, err
		}
	}
	return nil, errSwept
}

// RemoveStale removes the files of NewTemp that a crash has left beside path: those that no
// process has locked, and names that the file at path had before Publish. Where LocksEarly is
// false, or the directory cannot be listed, they stay.
func RemoveStale(path string) {
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		return
	}
	defer dir.Close()
	names, _ := dir.Readdirnames(-1)
	prefix := TempPrefix(path)
	for _, name := range names {
		if strings.HasPrefix(name, prefix) {
			removeIfStale(filepath.Join(filepath.Dir(path), name), path)
		}
	}
}

func removeIfStale(name, path string) {
	f, err := os.OpenFile(name, os.O_RDWR, 0)
	if err != nil {
		return
	}
	defer f.Close()
	stale, err := IsAt(f, path)
	if err == nil && !stale {
		if stale, _ = TryLock(f, false); stale {
			stale, _ = IsAt(f, name)
		}
	}
	if stale {
		os.Remove(name)
	}
}

// Publish gives temp the name path. If another file has that name by now, Publish leaves both
// files as they are and returns nil: a link cannot replace a file. Where the file system has no
// links, Publish looks and then renames temp, and a file that another process makes in between is
// replaced.
func Publish(temp, path string) error {
	err := os.Link(temp, path)
	if err == nil || errors.Is(err, fs.ErrExist) {
		return nil
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return os.Rename(temp, path)
}

// SyncDir makes the names in dir durable, where directories can be opened and synced.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if errors.Is(err, fs.ErrPermission) {
		return nil
	}
	if err != nil {
		return err
	}
	defer d.Close()
	err = d.Sync()
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, fs.ErrPermission) || errors.Is(err, syscall.EINVAL) {
		return nil
	}
	return err
}

// CopyModeAndOwner gives f the mode and the owner of the file of like, so that the program that owns
// that file can open f, too. It fails if the owner cannot be changed.
func CopyModeAndOwner(f *os.File, like os.FileInfo) error {
	f.Chmod(like.Mode().Perm()) // some file systems have no modes
	return chown(f, like)
}

// SetAside renames the file at path. The new name is path with suffix and the first free number.
func SetAside(path, suffix string) error {
	for n := 1; ; n++ {
		name := fmt.Sprintf("%s.%s-%d", path, suffix, n)
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			return os.Rename(path, name)
		}
	}
}
