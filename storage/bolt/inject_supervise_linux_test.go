//go:build amd64

package bolt

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"
	"syscall"
	"unsafe"
)

// injection is what becomes of the calls of a process on the files of one directory. The
// numbers count all threads together, which strace does not.
type injection struct {
	call    string // none: every call happens
	errno   syscall.Errno
	nth     int  // which one fails, counted from 1
	lasting bool // those after it, too
	onlyDir bool // calls on the directory itself fail, and none on its files
}

func (i injection) String() string {
	if i.call == "" {
		return "nothing"
	}
	return fmt.Sprintf("%s at %s %d, lasting: %v", i.errno.Error(), i.call, i.nth, i.lasting)
}

// injectCall is a call that can be made to fail. Its file is that of a descriptor, or
// that of a path, which begins at the directory of the descriptor before it.
type injectCall struct {
	name     string
	fd, path int // the number of the argument; -1: it has none
	errnos   []syscall.Errno
}

// injectCalls are the calls by which a store reaches its files, by their numbers.
var injectCalls = map[int32]injectCall{
	syscall.SYS_PWRITE64:   {"pwrite64", 0, -1, errnos(syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.ESTALE)},
	syscall.SYS_PREAD64:    {"pread64", 0, -1, errnos(syscall.EIO, syscall.ESTALE, syscall.ETIMEDOUT, syscall.ENOMEM)},
	syscall.SYS_READ:       {"read", 0, -1, errnos(syscall.EIO, syscall.ESTALE)},
	syscall.SYS_WRITE:      {"write", 0, -1, errnos(syscall.EIO, syscall.ENOSPC)},
	syscall.SYS_FSYNC:      {"fsync", 0, -1, errnos(syscall.EIO, syscall.ENOSPC, syscall.EROFS)},
	syscall.SYS_FDATASYNC:  {"fdatasync", 0, -1, errnos(syscall.EIO, syscall.ENOSPC, syscall.EROFS)},
	syscall.SYS_FTRUNCATE:  {"ftruncate", 0, -1, errnos(syscall.EIO, syscall.ENOSPC, syscall.EFBIG, syscall.EROFS)},
	syscall.SYS_FALLOCATE:  {"fallocate", 0, -1, errnos(syscall.ENOSPC, syscall.EOPNOTSUPP)},
	syscall.SYS_FLOCK:      {"flock", 0, -1, errnos(syscall.ENOLCK, syscall.ENOSYS, syscall.EIO)},
	syscall.SYS_FCHMOD:     {"fchmod", 0, -1, errnos(syscall.EPERM, syscall.EIO, syscall.EROFS)},
	syscall.SYS_FCHOWN:     {"fchown", 0, -1, errnos(syscall.EPERM, syscall.EIO)},
	syscall.SYS_FSTAT:      {"fstat", 0, -1, errnos(syscall.EIO, syscall.ESTALE)},
	syscall.SYS_GETDENTS64: {"getdents64", 0, -1, errnos(syscall.EIO, syscall.ESTALE)},
	syscall.SYS_MMAP:       {"mmap", 4, -1, errnos(syscall.ENOMEM, syscall.ENODEV, syscall.EAGAIN)},
	syscall.SYS_OPENAT:     {"openat", -1, 1, errnos(syscall.EIO, syscall.ENOSPC, syscall.EROFS, syscall.EACCES, syscall.ESTALE, syscall.EMFILE)},
	syscall.SYS_LINKAT:     {"linkat", -1, 3, errnos(syscall.EPERM, syscall.EOPNOTSUPP, syscall.EIO, syscall.ENOSPC)},
	syscall.SYS_RENAMEAT:   {"renameat", -1, 3, errnos(syscall.EIO, syscall.EACCES, syscall.ENOSPC, syscall.EBUSY)},
	sysRenameat2:           {"renameat2", -1, 3, errnos(syscall.EIO, syscall.EACCES, syscall.EINVAL)},
	syscall.SYS_UNLINKAT:   {"unlinkat", -1, 1, errnos(syscall.EIO, syscall.EACCES, syscall.EROFS)},
	syscall.SYS_NEWFSTATAT: {"newfstatat", -1, 1, errnos(syscall.EIO, syscall.ESTALE, syscall.EACCES)},
	sysStatx:               {"statx", 0, 1, errnos(syscall.EIO, syscall.ESTALE, syscall.EPERM)},
	syscall.SYS_MADVISE:    {"madvise", -1, -1, nil},
}

const (
	sysRenameat2 = 316
	sysSeccomp   = 317
	sysStatx     = 332
)

func errnos(all ...syscall.Errno) []syscall.Errno { return all }

// The interface of the kernel: seccomp(2), seccomp_unotify(2).
const (
	injectSocket = 3 // the descriptor over which a child sends that of its calls

	noNewPrivs    = 38
	setFilter     = 1
	filterFlags   = 1 | 1<<3 | 1<<4 // TSYNC, NEW_LISTENER, TSYNC_ESRCH
	actNotify     = 0x7fc00000
	actAllow      = 0x7fff0000
	ioctlReceive  = 0xc0502100
	ioctlSend     = 0xc0182101
	flagContinue  = 1
	codeLoad      = 0x20
	codeJumpEqual = 0x15
	codeReturn    = 0x06
)

type notice struct {
	id         uint64
	pid, flags uint32
	nr         int32
	arch       uint32
	ip         uint64
	args       [6]uint64
}

type response struct {
	id    uint64
	value int64
	error int32
	flags uint32
}

// superviseMe hands all calls of this process that are in injectCalls to its parent. From
// when they are handed over to when the parent has the descriptor, no thread may wait for
// another one, which may wait for the parent.
func superviseMe() error {
	prog := []syscall.SockFilter{{Code: codeLoad, K: 0}} // the number of the call
	for nr := range injectCalls {
		prog = append(prog, syscall.SockFilter{Code: codeJumpEqual, Jf: 1, K: uint32(nr)}, syscall.SockFilter{Code: codeReturn, K: actNotify})
	}
	prog = append(prog, syscall.SockFilter{Code: codeReturn, K: actAllow})
	fprog := syscall.SockFprog{Len: uint16(len(prog)), Filter: &prog[0]}
	one, rights := []byte{0}, syscall.UnixRights(0)
	vector := syscall.Iovec{Base: &one[0], Len: 1}
	message := syscall.Msghdr{Iov: &vector, Iovlen: 1, Control: &rights[0], Controllen: uint64(len(rights))}
	defer debug.SetGCPercent(debug.SetGCPercent(-1))
	runtime.LockOSThread() // the filter is for all threads, if this one may set it
	defer runtime.UnlockOSThread()
	if _, _, e := syscall.RawSyscall(syscall.SYS_PRCTL, noNewPrivs, 1, 0); e != 0 {
		return fmt.Errorf("prctl: %w", e)
	}
	fd, _, e := syscall.RawSyscall(sysSeccomp, setFilter, filterFlags, uintptr(unsafe.Pointer(&fprog)))
	if e != 0 {
		return fmt.Errorf("seccomp: %w", e)
	}
	binary.NativeEndian.PutUint32(rights[syscall.CmsgLen(0):], uint32(fd))
	_, _, e = syscall.RawSyscall(syscall.SYS_SENDMSG, injectSocket, uintptr(unsafe.Pointer(&message)), 0)
	syscall.RawSyscall(syscall.SYS_CLOSE, fd, 0, 0)
	syscall.RawSyscall(syscall.SYS_CLOSE, injectSocket, 0, 0)
	if e != 0 {
		return fmt.Errorf("sendmsg: %w", e)
	}
	return nil
}

// supervisor lets the calls of a child happen, or fail.
type supervisor struct {
	injection
	dir    string
	listen int
	counts map[string]int // of the calls on files in dir
	failed int            // how many were made to
}

// receive takes the descriptor that the child sends.
func (s *supervisor) receive(conn *net.UnixConn) error {
	b, oob := make([]byte, 1), make([]byte, 64)
	_, n, _, _, err := conn.ReadMsgUnix(b, oob)
	if err != nil {
		return err
	}
	messages, err := syscall.ParseSocketControlMessage(oob[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("the child sent no descriptor: %w", err)
	}
	fds, err := syscall.ParseUnixRights(&messages[0])
	if err == nil {
		s.listen = fds[0]
	}
	return err
}

// serve answers until the child is dead.
func (s *supervisor) serve() {
	defer syscall.Close(s.listen)
	for {
		var poll struct {
			fd              int32
			events, revents int16
		}
		poll.fd, poll.events = int32(s.listen), 1
		_, _, e := syscall.Syscall6(syscall.SYS_PPOLL, uintptr(unsafe.Pointer(&poll)), 1, 0, 0, 0, 0)
		if e == 0 && poll.revents&1 == 0 {
			return // hung up
		}
		var n notice
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s.listen), ioctlReceive, uintptr(unsafe.Pointer(&n))); e != 0 {
			continue // the call was interrupted
		}
		r := response{id: n.id, flags: flagContinue}
		call := injectCalls[n.nr]
		inside := s.concerns(call, &n)
		if inside {
			s.counts[call.name]++
		}
		if inside && call.name == s.call && (s.counts[call.name] == s.nth || s.lasting && s.counts[call.name] > s.nth) {
			r = response{id: n.id, error: -int32(s.errno)}
			s.failed++
		}
		if _, _, e := syscall.Syscall(syscall.SYS_IOCTL, uintptr(s.listen), ioctlSend, uintptr(unsafe.Pointer(&r))); e != 0 && inside {
			s.counts[call.name]-- // interrupted, and made again
		}
	}
}

// concerns reports whether the call is on a file in the directory, or on that. One that
// has neither a descriptor nor a path always is.
func (s *supervisor) concerns(call injectCall, n *notice) bool {
	if call.fd < 0 && call.path < 0 {
		return true
	}
	path := ""
	if call.path >= 0 {
		path = readString(n.pid, n.args[call.path])
	}
	fd := call.fd
	if fd < 0 {
		fd = call.path - 1
	}
	if at := int32(n.args[fd]); !filepath.IsAbs(path) && at >= 0 {
		base, _ := os.Readlink(fmt.Sprintf("/proc/%d/fd/%d", n.pid, at))
		path = filepath.Join(strings.TrimSuffix(base, " (deleted)"), path)
	}
	return path == s.dir || !s.onlyDir && strings.HasPrefix(path, s.dir+"/")
}

// readString reads a path out of another process.
func readString(pid uint32, at uint64) string {
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return ""
	}
	defer f.Close()
	var all []byte
	for len(all) < syscall.PathMax {
		b := make([]byte, 256-(at%256)) // never across a page that may not be there
		n, err := f.ReadAt(b, int64(at))
		if end := bytes.IndexByte(b[:n], 0); end >= 0 {
			return string(append(all, b[:end]...))
		}
		if err != nil {
			return ""
		}
		all, at = append(all, b[:n]...), at+uint64(n)
	}
	return ""
}
