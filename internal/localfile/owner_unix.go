//go:build unix

package localfile

import (
	"fmt"
	"os"
	"syscall"
)

// chown gives f the owner and the group of the file of like.
func chown(f *os.File, like os.FileInfo) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	is, ok := info.Sys().(*syscall.Stat_t)
	want, ok2 := like.Sys().(*syscall.Stat_t)
	if !ok || !ok2 || is.Uid == want.Uid && is.Gid == want.Gid {
		return nil
	}
	if err := f.Chown(int(want.Uid), int(want.Gid)); err != nil {
		return fmt.Errorf("the new file cannot get the owner of the old one: %w; run this as user %d of group %d", err, want.Uid, want.Gid)
	}
	return nil
}
