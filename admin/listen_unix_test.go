//go:build darwin || freebsd || linux

package admin

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// listenHere listens at path until the end of the test.
func listenHere(t *testing.T, path string) net.Listener {
	t.Helper()
	l, err := Listen(path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// leaveStale leaves a socket at path as a dead program does.
func leaveStale(t *testing.T, path string) {
	t.Helper()
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
}

// mustAnswer fails the test if no program listens at path.
func mustAnswer(t *testing.T, path string) {
	t.Helper()
	conn, err := dial(context.Background(), path)
	if err != nil {
		t.Error(err)
		return
	}
	conn.Close()
}

func modeOf(t *testing.T, path string) fs.FileMode {
	t.Helper()
	info, err := os.Lstat(path)
	if err != nil {
		t.Fatal(err)
	}
	return info.Mode()
}

// TestListenModes: directory and socket are closed to others whatever the umask is.
func TestListenModes(t *testing.T) {
	for _, row := range []struct {
		umask  string
		exists bool
	}{
		{"000", false}, {"000", true}, {"027", false}, {"077", false},
		{"177", true}, {"777", true}, // a directory that these masks make could not be entered
	} {
		t.Run(fmt.Sprintf("%s exists=%v", row.umask, row.exists), func(t *testing.T) {
			dir := filepath.Join(publicDir(t, 0o755), "run")
			path := filepath.Join(dir, "s")
			if row.exists {
				if err := os.Mkdir(dir, 0o700); err != nil {
					t.Fatal(err)
				}
			}
			if said := runProcess(t, "listen", path, processUmask+"="+row.umask); said != "listening" {
				t.Fatal(said)
			}
			if got := modeOf(t, dir); got != fs.ModeDir|0o700 {
				t.Errorf("directory: %v", got)
			}
			if got := modeOf(t, path); got != fs.ModeSocket|0o600 {
				t.Errorf("socket: %v", got)
			}
		})
	}
	path := filepath.Join(publicDir(t, 0o755), "run", "s")
	if said := runProcess(t, "listen", path, processUmask+"=177"); !strings.Contains(said, "its mode is 0600; chmod it to 0700") {
		t.Error(said)
	}
}

// TestListenInOpenDirectory: a directory that is not private is refused by name, nothing is made
// in it, and its mode stays.
func TestListenInOpenDirectory(t *testing.T) {
	for _, mode := range []os.FileMode{0o701, 0o710, 0o704, 0o720, 0o755, 0o777, 0o777 | os.ModeSticky, 0o600, 0o500, 0} {
		t.Run(mode.String(), func(t *testing.T) {
			dir := publicDir(t, mode)
			_, err := Listen(filepath.Join(dir, "s"))
			if !errors.Is(err, ErrUnsafe) || !strings.Contains(err.Error(), dir) || !strings.Contains(err.Error(), "chmod") {
				t.Errorf("%v", err)
			}
			if got := modeOf(t, dir); got != fs.ModeDir|mode {
				t.Errorf("the directory has mode %v", got)
			}
			os.Chmod(dir, 0o700)
			if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
				t.Errorf("left: %v, %v", left, err)
			}
		})
	}
}

// TestListenInNoDirectory: each is refused with what to do.
func TestListenInNoDirectory(t *testing.T) {
	dir := publicDir(t, 0o700)
	at := func(name string) string { return filepath.Join(dir, name) }
	if err := errors.Join(os.Mkdir(at("real"), 0o700), os.Symlink(at("real"), at("link")),
		os.Symlink(at("nothing"), at("dangling")), os.WriteFile(at("file"), nil, 0o700)); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]struct {
		err  error
		text string
	}{
		"link/s":        {ErrUnsafe, "name the directory itself"},
		"dangling/s":    {ErrUnsafe, "name the directory itself"},
		"file/s":        {unix.ENOTDIR, "choose another path"},
		"missing/run/s": {fs.ErrNotExist, "make that directory"},
		"file/run/s":    {unix.ENOTDIR, "make that directory"},
	} {
		_, err := Listen(at(name))
		if !errors.Is(err, want.err) || !strings.Contains(err.Error(), want.text) {
			t.Errorf("%s: %v; want %v and %q", name, err, want.err, want.text)
		}
	}
	listenHere(t, at("real/s"))
	if left, _ := os.ReadDir(dir); len(left) != 4 {
		t.Errorf("made: %v", left)
	}
}

// TestListenPathLength: one byte before the limit, at the limit, and one after.
func TestListenPathLength(t *testing.T) {
	dir := publicDir(t, 0o700)
	for _, row := range []struct {
		length int
		ok     bool
	}{{mostPath - 1, true}, {mostPath, true}, {mostPath + 1, false}, {4096, false}} {
		path := filepath.Join(dir, strings.Repeat("s", row.length-len(dir)-1))
		l, err := Listen(path)
		if row.ok {
			if err != nil {
				t.Errorf("%d: %v", row.length, err)
				continue
			}
			mustAnswer(t, path)
			l.Close()
			continue
		}
		_, dialErr := dial(context.Background(), path)
		for _, err := range []error{err, dialErr} {
			if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("has %d bytes", row.length)) {
				t.Errorf("%d: %v", row.length, err)
			}
		}
	}
	if left, _ := os.ReadDir(dir); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if _, err := Listen(""); !errors.Is(err, errNoPath) {
		t.Error(err)
	}
}

// TestListenRelative: a relative path is that of the directory of the call, also where another
// directory is current at Close. A name with @ is no abstract socket, which every user can reach.
func TestListenRelative(t *testing.T) {
	dir := publicDir(t, 0o700)
	path := filepath.Join(dir, "@s")
	t.Chdir(dir)
	l := listenHere(t, "@s")
	if got := modeOf(t, path); got != fs.ModeSocket|0o600 {
		t.Errorf("%v", got)
	}
	mustAnswer(t, "@s")
	t.Chdir("/")
	if err := l.Close(); err != nil {
		t.Error(err)
	}
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Error("Close left the socket", err)
	}
}

// TestListenReplacesStale: the socket of a program that was killed is replaced.
func TestListenReplacesStale(t *testing.T) {
	path := filepath.Join(publicDir(t, 0o700), "s")
	p := newProcess(t, "listen", path)
	p.begin()
	if said := p.says(); said != "listening" {
		t.Fatal(said)
	}
	p.kill()
	if got := modeOf(t, path); got.Type() != fs.ModeSocket {
		t.Fatalf("no stale socket: %v", got)
	}
	if _, err := dial(context.Background(), path); !errors.Is(err, ErrNotRunning) {
		t.Errorf("dial: %v", err)
	}
	listenHere(t, path)
	mustAnswer(t, path)
}

// TestListenKeepsFiles: Listen removes no file that is not a stale socket.
func TestListenKeepsFiles(t *testing.T) {
	dir := publicDir(t, 0o700)
	at := func(name string) string { return filepath.Join(dir, name) }
	leaveStale(t, at("stale"))
	datagrams, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at("datagrams"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	if err := errors.Join(os.WriteFile(at("file"), []byte("kept"), 0o600), os.Mkdir(at("dir"), 0o700),
		os.Symlink(at("stale"), at("link")), os.Symlink(at("nothing"), at("dangling")), unix.Mkfifo(at("pipe"), 0o600)); err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"file", "dir", "link", "dangling", "pipe", "datagrams"} {
		before, err := os.Lstat(at(name))
		if err != nil {
			t.Fatal(err)
		}
		_, err = Listen(at(name))
		if err == nil || errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), "remove the") {
			t.Errorf("%s: %v", name, err)
		}
		if after, err := os.Lstat(at(name)); err != nil || !os.SameFile(before, after) {
			t.Errorf("%s is gone: %v", name, err)
		}
	}
	if content, err := os.ReadFile(at("file")); string(content) != "kept" {
		t.Error("the file has changed", err)
	}
}

// TestListenWhileRunning: the second of two programs is told who runs, and the first goes on.
func TestListenWhileRunning(t *testing.T) {
	path := filepath.Join(publicDir(t, 0o700), "s")
	p := newProcess(t, "listen", path)
	p.begin()
	if said := p.says(); said != "listening" {
		t.Fatal(said)
	}
	_, err := Listen(path)
	if want := fmt.Sprintf("as user %d; stop it first", os.Geteuid()); !errors.Is(err, ErrRunning) || !strings.Contains(err.Error(), want) {
		t.Errorf("%v; want %q", err, want)
	}
	mustAnswer(t, path)
}

// TestListenerClose removes the listener's own socket, and no other.
func TestListenerClose(t *testing.T) {
	path := filepath.Join(publicDir(t, 0o700), "s")
	first := listenHere(t, path)
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
	second := listenHere(t, path)
	if err := first.Close(); err != nil {
		t.Error(err)
	}
	mustAnswer(t, path)
	if err := first.Close(); !errors.Is(err, net.ErrClosed) {
		t.Errorf("second Close: %v", err)
	}
	mustAnswer(t, path)
	if err := second.Close(); err != nil {
		t.Error(err)
	}
	third := listenHere(t, path)
	kept := path + ".kept"
	if err := os.Link(path, kept); err != nil {
		t.Fatal(err)
	}
	os.Remove(path)
	if err := third.Close(); err != nil {
		t.Errorf("Close without a file: %v", err)
	}
	if err := os.Rename(kept, path); err != nil { // another socket that got the inode of the third
		t.Fatal(err)
	}
	third.Close()
	if got := modeOf(t, path); got.Type() != fs.ModeSocket {
		t.Errorf("%v", got)
	}
}

// TestListenElsewhere: a socket that was made in a directory other than the one that was checked is
// refused.
func TestListenElsewhere(t *testing.T) {
	checked, err := openPrivate(publicDir(t, 0o700))
	if err != nil {
		t.Fatal(err)
	}
	defer checked.Close()
	path := filepath.Join(publicDir(t, 0o700), "s")
	leaveStale(t, path)
	if _, err := setMode(checked, path); !errors.Is(err, ErrUnsafe) {
		t.Error(err)
	}
}
