//go:build darwin || freebsd || linux

package admin

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// What another process does with a socket: this test binary, run again with the name of one of
// these and a path in its environment. It begins when it gets a line on its standard input, and
// prints one line.
var processes = map[string]func(path string) string{
	"listen":  listenAndWait,
	"path":    func(file string) string { return orRefused(DefaultPath(file)) },
	"dial":    dialAndGreet,
	"connect": connectOnly,
	"unbound": listenAnywhere,
}

const processEnv, processPath, processUmask = "ADMIN_TEST_PROCESS", "ADMIN_TEST_PATH", "ADMIN_TEST_UMASK"

// TestProcess is not a test: it is what another process runs.
func TestProcess(t *testing.T) {
	run := processes[os.Getenv(processEnv)]
	if run == nil {
		return
	}
	if mask, err := strconv.ParseInt(os.Getenv(processUmask), 8, 0); err == nil {
		syscall.Umask(int(mask))
	}
	bufio.NewReader(io.LimitReader(os.Stdin, 1)).ReadByte()
	fmt.Println(run(os.Getenv(processPath)))
	io.Copy(io.Discard, os.Stdin) // until the test closes it, or is dead
}

func orRefused(text string, err error) string {
	if err != nil {
		return "refused: " + err.Error()
	}
	return text
}

// openListeners are the listeners of a process, which stay open until it ends.
var openListeners []net.Listener

func listenAndWait(path string) string {
	l, err := Listen(path)
	if err == nil {
		openListeners = append(openListeners, l)
	}
	if errors.Is(err, ErrRunning) {
		return "running"
	}
	return orRefused("listening", err)
}

// listenAnywhere listens at path without a look at its directory.
func listenAnywhere(path string) string {
	l, err := net.Listen("unix", path)
	openListeners = append(openListeners, l)
	return orRefused("listening", err)
}

func dialAndGreet(path string) string {
	conn, err := dial(context.Background(), path)
	if err != nil {
		return orRefused("", err)
	}
	return orRefused(bufio.NewReader(conn).ReadString('\n'))
}

func connectOnly(path string) string {
	conn, err := net.Dial("unix", path)
	if err != nil {
		return orRefused("", err)
	}
	return orRefused(bufio.NewReader(conn).ReadString('\n'))
}

// process is another process that waits for the line with which it begins.
type process struct {
	t     *testing.T
	cmd   *exec.Cmd
	stdin io.WriteCloser
	out   *bufio.Reader
}

// newProcess starts a process. It is killed at the end of the test.
func newProcess(t *testing.T, name, path string, env ...string) *process {
	return startProcess(t, exec.Command(testBinary(t)), name, path, env...)
}

// testBinary returns the path of this test binary.
func testBinary(t *testing.T) string {
	t.Helper()
	path, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func startProcess(t *testing.T, cmd *exec.Cmd, name, path string, env ...string) *process {
	t.Helper()
	cmd.Args = append(cmd.Args, "-test.run=^TestProcess$")
	cmd.Env = slices.Concat(os.Environ(), []string{processEnv + "=" + name, processPath + "=" + path}, env)
	cmd.Stderr = os.Stderr
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	p := &process{t, cmd, stdin, bufio.NewReader(stdout)}
	t.Cleanup(p.kill)
	return p
}

// begin lets the process run.
func (p *process) begin() { p.stdin.Write([]byte("\n")) }

// says returns the line that the process prints.
func (p *process) says() string {
	p.t.Helper()
	line, err := p.out.ReadString('\n')
	if err != nil {
		p.t.Fatalf("%v after %q", err, line)
	}
	return strings.TrimSpace(line)
}

// kill ends the process without a chance to clean up.
func (p *process) kill() {
	p.cmd.Process.Kill()
	p.cmd.Wait()
}

// runProcess lets a process run and returns what it says.
func runProcess(t *testing.T, name, path string, env ...string) string {
	t.Helper()
	p := newProcess(t, name, path, env...)
	p.begin()
	return p.says()
}

// otherUser is a user who owns nothing.
const otherUser = 65534

// newProcessOfOther starts a process of otherUser.
func newProcessOfOther(t *testing.T, name, path string, env ...string) *process {
	t.Helper()
	needRoot(t)
	binary := filepath.Join(publicDir(t, 0o755), "test")
	if err := os.Link(testBinary(t), binary); err != nil {
		content, err := os.ReadFile(testBinary(t))
		if err == nil {
			err = os.WriteFile(binary, content, 0o755)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chmod(binary, 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(binary)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: otherUser, Gid: otherUser}}
	return startProcess(t, cmd, name, path, env...)
}

// runAsOther lets a process of otherUser run and returns what it says.
func runAsOther(t *testing.T, name, path string, env ...string) string {
	t.Helper()
	p := newProcessOfOther(t, name, path, env...)
	p.begin()
	return p.says()
}

func needRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can become another user")
	}
}

// publicDir returns a new directory with the mode. Every user can come to it, and its path is short.
func publicDir(t *testing.T, mode os.FileMode) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lapse-*")
	if err == nil {
		err = os.Chmod(dir, mode)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// giveToOther gives files to otherUser.
func giveToOther(t *testing.T, paths ...string) {
	t.Helper()
	needRoot(t)
	for _, path := range paths {
		if err := os.Lchown(path, otherUser, otherUser); err != nil {
			t.Fatal(err)
		}
	}
}

// greetAll writes a line to every connection that l accepts: the number of its user and what that
// user may do.
func greetAll(l net.Listener, allow Allow) {
	for {
		conn, err := l.Accept()
		if err != nil {
			return
		}
		uid, err := peer(conn)
		if c, ok := allow.caller(uid); ok && err == nil {
			fmt.Fprintf(conn, "user %d, full %v\n", c.UID, c.Full)
		}
		conn.Close()
	}
}
