package bolt

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/seed-55daa01a/lapse/storage"
)

// TestNoSpace fills the disk up under an open store: what cannot be written says so,
// reading goes on, and so does writing once there is room.
func TestNoSpace(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	eachDisk(t, func(t *testing.T, dir string) {
		f := suffer(t, dir)
		empty := fillUp(t, dir)
		f.failsSoon(syscall.ENOSPC)
		f.reads("on a full disk")
		f.mayFail("end", f.end(1), syscall.ENOSPC)
		f.mayFail("sweep", sweepAll(f.s), syscall.ENOSPC)
		f.reads("after an end")
		f.mayFail("touch", f.touch(2), syscall.ENOSPC)
		f.reads("after a touch")
		empty()
		f.works("issue with room again", f.put(large(20_000)))
		f.works("end with room again", f.end(3))
		f.reads("with room again")
		f.works("Close", f.inTime("Close", f.s.Close))
		f.open()
		f.reads("after reopening")
		f.works("Close", f.s.Close())
	})
}

// TestFirstStartWithoutSpace: a store that cannot be made leaves nothing behind, and
// can be made later.
func TestFirstStartWithoutSpace(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	eachDisk(t, func(t *testing.T, dir string) {
		empty := fillUp(t, dir)
		f := &suffering{t: t, path: filepath.Join(dir, "tokens.db"), want: make(map[storage.ID]storage.Record)}
		_, err := Open(f.path, nil)
		f.fails("Open", err, syscall.ENOSPC)
		left, _ := filepath.Glob(filepath.Join(dir, ".*"))
		if _, err := os.Stat(f.path); len(left) > 0 || !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("left behind: %v, and the store: %v", left, err)
		}
		empty()
		f.open()
		f.works("issue", f.put(record(1)))
		f.works("Close", f.s.Close())
	})
}

// TestSyncFails: the disk takes a write and cannot keep it, which only a sync tells.
func TestSyncFails(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	below := memoryDisk(t, "12m")
	d := newDisk(t, below, 64<<20, "")
	f := suffer(t, d.dir)
	empty := fillUp(t, below)
	f.failsSoon(syscall.EIO, syscall.EROFS, syscall.ENOSPC)
	f.reads("after a failed sync")
	f.mayFail("touch", f.touch(2), syscall.EIO, syscall.EROFS)
	f.inTime("Close", f.s.Close)
	empty()
	if err := d.restart(); err != nil {
		t.Fatal(err)
	}
	delete(f.want, record(2).ID) // touched, or not
	f.open()
	f.reads("after reopening")
	f.works("issue", f.put(record(21)))
	f.works("Close", f.s.Close())
}

// TestDiskGoes: the disk is gone under an open store, or can only be read. Every
// call comes back, and says why.
func TestDiskGoes(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	for name, goes := range map[string]func(d *disk) error{
		"for good":  (*disk).cut,
		"read-only": func(d *disk) error { return runTool("mount", "-o", "remount,abort", d.dir) },
	} {
		t.Run(name, func(t *testing.T) {
			d := newDisk(t, memoryDisk(t, "40m"), 16<<20, "")
			f := suffer(t, d.dir)
			if err := goes(d); err != nil {
				unable(t, err)
			}
			causes := []syscall.Errno{syscall.EIO, syscall.EROFS, syscall.ESHUTDOWN}
			for n := range 3 {
				f.fails("issue", f.inTime("issue", func() error { return f.put(record(30 + n)) }), causes...)
				f.fails("end", f.inTime("end", func() error { return f.end(n) }), causes...)
				f.mayFail("touch", f.inTime("touch", func() error { return f.touch(10 + n) }), causes...)
				f.mayFail("sweep", f.inTime("sweep", func() error { return sweepAll(f.s) }), causes...)
			}
			f.reads("without a disk")
			f.inTime("Close", f.s.Close)
			for n := range 3 {
				delete(f.want, record(10+n).ID) // touched, or not
			}
			if err := d.restart(); err != nil {
				t.Fatal(err)
			}
			f.open()
			f.reads("after reopening")
			f.works("issue", f.put(record(40)))
			f.works("Close", f.s.Close())
		})
	}
}

// TestReadOnlyDisk: a store on a disk that can only be read is not opened, and is
// opened when it can be written again.
func TestReadOnlyDisk(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	eachDisk(t, func(t *testing.T, dir string) {
		f := suffer(t, dir)
		f.works("Close", f.s.Close())
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, ""); err != nil {
			unable(t, err)
		}
		for _, path := range []string{f.path, filepath.Join(dir, "new.db")} {
			_, err := Open(path, nil)
			f.fails("Open", err, syscall.EROFS)
		}
		if err := syscall.Mount("", dir, "", syscall.MS_REMOUNT, ""); err != nil {
			t.Fatal(err)
		}
		f.open()
		f.reads("with a disk that can be written again")
		f.works("issue", f.put(record(40)))
		f.works("Close", f.s.Close())
	})
}

// TestImmutableFile: a file that the system lets nobody write says so, and is
// written again when it may be.
func TestImmutableFile(t *testing.T) {
	if !ownMounts(t) {
		return
	}
	d := newDisk(t, memoryDisk(t, "40m"), 16<<20, "")
	f := suffer(t, d.dir)
	attribute := func(change string) {
		t.Helper()
		if err := runTool("chattr", change, f.path); err != nil {
			unable(t, err)
		}
	}
	attribute("+i")
	f.mayFail("issue", f.put(record(30)), syscall.EPERM) // the file was open before
	f.reads("of an immutable file")
	attribute("-i")
	f.works("issue once it may", f.put(record(31)))
	f.works("Close", f.s.Close())
	attribute("+i")
	_, err := Open(f.path, nil)
	f.fails("Open", err, syscall.EPERM)
	attribute("-i")
	f.open()
	f.reads("of what was an immutable file")
	f.works("issue", f.put(record(40)))
	f.works("Close", f.s.Close())
}
