package main

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestHolderOfTheDevice: a lock of a file of the same number in another file system is none of this file.
func TestHolderOfTheDevice(t *testing.T) {
	var paths [2]string
	var infos [2]os.FileInfo
	for i := range paths {
		dir := t.TempDir()
		if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=4m"); err != nil {
			t.Skip("a file system cannot be mounted: ", err)
		}
		t.Cleanup(func() { syscall.Unmount(dir, 0) })
		paths[i] = filepath.Join(dir, "tokens.db")
		f, err := os.Create(paths[i])
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { f.Close() })
		if infos[i], err = f.Stat(); err != nil {
			t.Fatal(err)
		}
		if i > 0 {
			continue
		}
		if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
			t.Fatal(err)
		}
	}
	if a, b := infos[0].Sys().(*syscall.Stat_t), infos[1].Sys().(*syscall.Stat_t); a.Ino != b.Ino || a.Dev == b.Dev {
		t.Fatalf("inodes %d and %d of the devices %d and %d; want one number on two", a.Ino, b.Ino, a.Dev, b.Dev)
	}
	if holder(paths[0]) == "" {
		t.Error("the holder of the locked file is not found")
	}
	if found := holder(paths[1]); found != "" {
		t.Errorf("%s has the file that no process has locked", found)
	}
}
