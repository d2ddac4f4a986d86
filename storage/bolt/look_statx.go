//go:build linux && (amd64 || arm64 || riscv64 || loong64)

package bolt

import (
	"os"
	"runtime"
	"syscall"
	"unsafe"
)

// statx is the beginning of what the system call fills in.
type statx struct {
	mask, _          uint32
	_                uint64
	_                [3]uint32
	mode, _          uint16
	ino, size        uint64
	_                [2]uint64
	_                [4][2]uint64 // times
	_                [2]uint32
	devMajor, devMin uint32
	_                [14]uint64
}

const (
	statxIno  = 0x100
	statxSize = 0x200
	atCWD     = ^uintptr(99) // -100
)

// lookAt reports whether the file at path is the one that info tells of, and how long
// it is now. It does not ask for times as os.Stat does: who asks for them makes the
// kernel write the inode once more with the next write, which costs a commit more than
// anything else that lapse does for it.
func lookAt(path string, info os.FileInfo) (same bool, size int64, err error) {
	name, err := syscall.BytePtrFromString(path)
	known, ok := info.Sys().(*syscall.Stat_t)
	if err != nil || !ok {
		return lookAtAll(path, info)
	}
	number := uintptr(291)
	if runtime.GOARCH == "amd64" {
		number = 332
	}
	var x statx
	const mask = statxIno | statxSize
	_, _, errno := syscall.Syscall6(number, atCWD, uintptr(unsafe.Pointer(name)), 0, mask, uintptr(unsafe.Pointer(&x)), 0)
	if errno != 0 || x.mask&mask != mask { // os.Stat says what it is, or can do better
		return lookAtAll(path, info)
	}
	major, minor := uint64(x.devMajor), uint64(x.devMin)
	dev := minor&0xff | major&0xfff<<8 | minor&^0xff<<12 | major&^0xfff<<32
	return x.ino == known.Ino && dev == known.Dev, int64(x.size), nil
}
