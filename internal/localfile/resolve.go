package localfile

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
)

// mostLinks is how many links Resolve follows.
const mostLinks = 40

var errNoPath = errors.New("the path is empty")

var errLinks = errors.New("too many links lead to one another; name the file itself")

// Resolve returns the absolute path of the file to which path leads through all links. The file
// need not exist, but its directory must.
func Resolve(path string) (string, error) {
	if path == "" {
		return "", errNoPath
	}
	path, err := filepath.Abs(path)
	for range mostLinks {
		if err != nil {
			return "", err
		}
		real, err := filepath.EvalSymlinks(path)
		if err == nil {
			return real, nil
		}
		target, linkErr := os.Readlink(path)
		if linkErr != nil { // there is no file: it will be in this directory
			dir, err := filepath.EvalSymlinks(filepath.Dir(path))
			return filepath.Join(dir, filepath.Base(path)), err
		}
		if !filepath.IsAbs(target) {
			target = filepath.Join(filepath.Dir(path), target)
		}
		path = target
	}
	return "", errLinks
}

// IsAt reports whether f is the file at path.
func IsAt(f *os.File, path string) (bool, error) {
	is, err := f.Stat()
	if err != nil {
		return false, err
	}
	at, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(is, at), err
}

// lookAll is Look by os.Stat.
func lookAll(path string, info os.FileInfo) (same bool, size int64, err error) {
	at, err := os.Stat(path)
	if err != nil {
		return false, 0, err
	}
	return os.SameFile(at, info), at.Size(), nil
}
