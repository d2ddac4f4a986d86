//go:build darwin || freebsd || linux

package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"
)

const asProgram, anyPort = "DESKTOP_TEST_PROGRAM", "127.0.0.1:0"

// TestMain lets this binary be the program, in a process of its own, so that the race detector sees
// the daemon, too. Its umask is that of the least careful user.
func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		syscall.Umask(0)
		main()
	}
	os.Exit(m.Run())
}

// home is where one user's programs run.
type home struct {
	t   *testing.T
	dir string
}

func newHome(t *testing.T) home {
	t.Helper()
	dir, err := os.MkdirTemp("", "lapse-*") // short, for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	for name, value := range map[string]string{"HOME": dir, "XDG_CONFIG_HOME": filepath.Join(dir, "config"), "XDG_RUNTIME_DIR": dir, "TZ": "UTC"} {
		t.Setenv(name, value)
	}
	return home{t, dir}
}

// desktop is the program as it would run in this process.
func (h home) desktop() desktop {
	h.t.Helper()
	config, err := os.UserConfigDir()
	if err != nil {
		h.t.Fatal(err)
	}
	d := desktop{dir: filepath.Join(config, "lapse-desktop"), device: "laptop"}
	if err := os.MkdirAll(d.dir, 0o700); err != nil {
		h.t.Fatal(err)
	}
	return d
}

// process returns the program, which is killed at the end of the test, or after a time that no test needs.
func (h home) process(args ...string) *exec.Cmd {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
	h.t.Cleanup(cancel)
	binary, err := os.Executable()
	if err != nil {
		h.t.Fatal(err)
	}
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Env = append(os.Environ(), asProgram+"=1", "GORACE=atexit_sleep_ms=0") // or each takes a second under -race
	return cmd
}

// said is what a command has printed, with its exit code.
type said struct {
	Code     int
	Out, Err string
}

// runs runs a command, with its words in one text.
func (h home) runs(command string) said {
	h.t.Helper()
	var out, err strings.Builder
	cmd := h.process(strings.Fields(command)...)
	cmd.Stdout, cmd.Stderr = &out, &err
	if failed := cmd.Run(); cmd.ProcessState == nil {
		h.t.Error(failed)
		return said{Code: -1}
	}
	got := said{cmd.ProcessState.ExitCode(), out.String(), err.String()}
	if secret := regexp.MustCompile(`lapse_\w{30,}`).FindString(got.Out + got.Err); secret != "" {
		h.t.Errorf("%s prints a bearer", command)
	}
	return got
}

// must runs a command that succeeds, and returns its standard output.
func (h home) must(command string) string {
	h.t.Helper()
	got := h.runs(command)
	if got.Code != 0 {
		h.t.Fatalf("%s: %+v", command, got)
	}
	return got.Out
}

// daemon is one that runs.
type daemon struct {
	h    home
	cmd  *exec.Cmd
	addr string // of clients
	log  *bufio.Reader
}

func (h home) startDaemon() *daemon {
	h.t.Helper()
	cmd := h.process("daemon", "--addr", anyPort)
	stderr, err := cmd.StderrPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		h.t.Fatal(err)
	}
	d := &daemon{h: h, cmd: cmd, log: bufio.NewReader(stderr)}
	h.t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := d.log.ReadString('\n')
	var found bool
	if _, d.addr, found = strings.Cut(strings.TrimSpace(line), "serving clients at "); err != nil || !found {
		h.t.Fatalf("the daemon says %q, %v", line, err)
	}
	return d
}

// stop interrupts the daemon, and checks that it ends in order.
func (d *daemon) stop() {
	d.h.t.Helper()
	if err := d.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		d.h.t.Fatal(err)
	}
	rest, _ := io.ReadAll(d.log)
	if err := d.cmd.Wait(); err != nil || len(rest) > 0 {
		d.h.t.Errorf("the daemon ends with %v, and says %q", err, rest)
	}
}

// kill ends the daemon without a chance to clean up.
func (d *daemon) kill() {
	d.cmd.Process.Kill()
	d.cmd.Wait()
}

// client is a connection to the daemon.
type client struct {
	t     *testing.T
	conn  net.Conn
	lines *bufio.Reader
}

// connect says hello with the text of a device.
func (d *daemon) connect(device string) *client {
	d.h.t.Helper()
	as := d.h.desktop()
	as.device = device
	bearer, err := os.ReadFile(as.bearerFile())
	if err != nil {
		d.h.t.Fatal(err)
	}
	return d.connectWith("HELLO " + string(bearer))
}

func (d *daemon) connectWith(first string) *client {
	d.h.t.Helper()
	conn, err := net.Dial("tcp", d.addr)
	if err != nil {
		d.h.t.Fatal(err)
	}
	d.h.t.Cleanup(func() { conn.Close() })
	conn.SetDeadline(time.Now().Add(2 * time.Minute))
	c := &client{d.h.t, conn, bufio.NewReader(conn)}
	c.say(strings.TrimSpace(first))
	return c
}

func (c *client) say(line string) {
	c.t.Helper()
	if _, err := fmt.Fprintln(c.conn, line); err != nil {
		c.t.Fatal(err)
	}
}

// hears returns the next line, or how the connection has ended.
func (c *client) hears() string {
	line, err := c.lines.ReadString('\n')
	if err != nil {
		return "the end: " + err.Error()
	}
	return strings.TrimSuffix(line, "\n")
}

// mustHear checks the next lines.
func (c *client) mustHear(want ...string) {
	c.t.Helper()
	for _, line := range want {
		if got := c.hears(); got != line {
			c.t.Fatalf("heard %q, want %q", got, line)
		}
	}
}
