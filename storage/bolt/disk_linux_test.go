package bolt

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"
)

// ownMounts reports whether this process may mount what it likes. Where it may not,
// the test t runs once more in a process that may, and whose mounts go when it
// goes, however it ends; what becomes of it there becomes of t. Without what it
// takes, t is skipped.
func ownMounts(t *testing.T) bool {
	t.Helper()
	if os.Getenv(mountsEnv) != "" {
		return true
	}
	if lack := lacking(); lack != "" {
		t.Skipf("mounting a disk of its own takes root, loop devices and ext4's tools: %s", lack)
	}
	cmd := exec.Command(os.Args[0], "-test.v", "-test.run=^"+t.Name()+"$")
	flag.Visit(func(f *flag.Flag) {
		if !strings.HasPrefix(f.Name, "test.") || f.Name == "test.timeout" {
			cmd.Args = append(cmd.Args, "-"+f.Name+"="+f.Value.String())
		}
	})
	cmd.Env = append(os.Environ(), mountsEnv+"=1", "TMPDIR="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	runtime.LockOSThread() // whose death is the signal's cause
	defer runtime.UnlockOSThread()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		unable(t, err)
	case err != nil:
		t.Errorf("%v\n%s", err, out)
	case strings.Contains(string(out), "--- SKIP: "+t.Name()):
		t.Skipf("%s", out)
	default:
		t.Logf("%s", out)
	}
	return false
}

// lacking returns what this machine cannot have been expected to do without, or "".
func lacking() string {
	if os.Geteuid() != 0 {
		return "not root"
	}
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		return err.Error()
	}
	for _, tool := range []string{"mkfs.ext4", "mount"} {
		if _, err := toolPath(tool); err != nil {
			return err.Error()
		}
	}
	return ""
}

// toolPath finds a tool that may not be on an ordinary PATH.
func toolPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err == nil {
			break
		}
		path, err = exec.LookPath(filepath.Join(dir, name))
	}
	return path, err
}

// runTool runs a tool and returns what it complains of.
func runTool(name string, args ...string) error {
	path, err := toolPath(name)
	if err != nil {
		return err
	}
	if out, err := exec.Command(path, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s %s: %w: %s", name, strings.Join(args, " "), err, out)
	}
	return nil
}

// unable ends a test that could not be set up on a machine that has all it takes:
// where everything must run, that is a failure.
func unable(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("LAPSE_REQUIRE_ALL") == "1" {
		t.Fatalf("cannot be set up: %v", err)
	}
	t.Skipf("cannot be set up: %v", err)
}

// memoryDisk mounts a file system in memory and returns where.
func memoryDisk(t *testing.T, size string) string {
	t.Helper()
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size="+size); err != nil {
		unable(t, err)
	}
	t.Cleanup(func() { syscall.Unmount(dir, syscall.MNT_DETACH) })
	return dir
}

// disk is an ext4 file system in an image file.
type disk struct {
	image, options string
	dir            string // where it is mounted, or will be
}

// newDisk makes a disk in folder and mounts it.
func newDisk(t *testing.T, folder string, size int64, options string) *disk {
	t.Helper()
	image, err := os.CreateTemp(folder, "disk-*.img")
	if err != nil {
		unable(t, err)
	}
	d := &disk{image: image.Name(), options: options, dir: t.TempDir()}
	t.Cleanup(func() { syscall.Unmount(d.dir, syscall.MNT_DETACH) })
	err = errors.Join(image.Truncate(size), image.Close())
	if err == nil {
		err = runTool("mkfs.ext4", "-q", "-F", "-m", "0", "-E", "lazy_itable_init=1,lazy_journal_init=1", d.image)
	}
	if err == nil {
		err = d.mount()
	}
	if err != nil {
		unable(t, err)
	}
	return d
}

// mount mounts the disk; the loop device that it takes goes with the mount.
func (d *disk) mount() error {
	options := "loop"
	if d.options != "" {
		options += "," + d.options
	}
	return runTool("mount", "-t", "ext4", "-o", options, d.image, d.dir)
}

func (d *disk) unmount() error {
	if err := syscall.Unmount(d.dir, 0); err != nil {
		return fmt.Errorf("unmount: %w", err)
	}
	return nil
}

// cut is what a power cut does to the disk: what is not on it by now never will be.
// Whoever has a file open there gets errors from then on.
func (d *disk) cut() error {
	const (
		shutdown   = 0x8004587D // EXT4_IOC_SHUTDOWN
		noLogFlush = 2
	)
	f, err := os.Open(d.dir)
	if err != nil {
		return err
	}
	defer f.Close()
	how := uint32(noLogFlush)
	_, _, errno := syscall.Syscall(syscall.SYS_IOCTL, f.Fd(), shutdown, uintptr(unsafe.Pointer(&how)))
	if errno != 0 {
		return fmt.Errorf("cut: %w", errno)
	}
	return nil
}

// restart mounts the disk again after a cut, as a machine that comes back does.
func (d *disk) restart() error { return errors.Join(d.unmount(), d.mount()) }
