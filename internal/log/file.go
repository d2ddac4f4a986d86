package log

import "os"

// file is a disk on an os.File.
type file struct{ *os.File }

func (f file) Write(b []byte, at int64) error {
	_, err := f.WriteAt(b, at)
	if err == nil && !writesThrough {
		err = f.Sync()
	}
	return err
}
