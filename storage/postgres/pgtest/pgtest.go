// Package pgtest starts PostgreSQL servers for tests and examples: each in a folder of its own, on
// loopback, with the programs of the system.
package pgtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// ErrNotInstalled: the programs of PostgreSQL are neither on PATH nor where Debian has them. On Debian
// the package is called postgresql.
var ErrNotInstalled = errors.New("pgtest: there is no PostgreSQL on this machine; install it, on Debian by apt-get install postgresql")

// Server is a PostgreSQL server.
type Server struct {
	Dir  string // its folder, which has the data and the log
	Port int

	bin string // the folder of its programs
	as  *syscall.Credential
}

// Options are settings of a server. The zero value is usable.
type Options struct {
	// Durable has each commit wait for the disk. Without it a crash of the machine, though not one of
	// the server, may lose commits.
	Durable bool

	// Settings are further lines of postgresql.conf.
	Settings []string
}

// Start makes a new database in dir, which is made if it does not exist, and starts a server. A server
// cannot be run by root: then the user postgres runs it, who becomes the owner of dir. Call Stop at
// the end. The error is ErrNotInstalled if there are no programs to start.
func Start(ctx context.Context, dir string, o Options) (*Server, error) {
	s, err := newServer(dir)
	if err != nil {
		return nil, err
	}
	if err := s.run(ctx, "initdb", "-D", s.data(), "-U", "lapse", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
		return nil, err
	}
	if s.Port, err = freePort(); err != nil {
		return nil, err
	}
	lines := []string{"listen_addresses = '127.0.0.1'", fmt.Sprint("port = ", s.Port), "unix_socket_directories = ''", "max_connections = 200", "shared_buffers = 256MB"}
	if !o.Durable {
		lines = append(lines, "fsync = off", "full_page_writes = off")
	}
	if err := s.Configure(append(lines, o.Settings...)...); err != nil {
		return nil, err
	}
	return s, s.Launch(ctx)
}

// newServer returns a server without data.
func newServer(dir string) (*Server, error) {
	bin, err := programs()
	if err != nil {
		return nil, err
	}
	s := &Server{Dir: dir, bin: bin}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if os.Geteuid() != 0 {
		return s, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, fmt.Errorf("pgtest: root cannot run a server, and there is no user postgres: %w", err)
	}
	uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
	gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	s.as = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return s, errors.Join(reachable(dir), os.Chown(dir, int(uid), int(gid)))
}

// reachable lets every user pass through the folders above dir that belong to this user.
func reachable(dir string) error {
	for up := filepath.Dir(dir); up != filepath.Dir(up); up = filepath.Dir(up) {
		info, err := os.Stat(up)
		if err != nil {
			return err
		}
		if info.Mode()&0o001 == 0 {
			if err := os.Chmod(up, info.Mode().Perm()|0o011); err != nil {
				return err
			}
		}
	}
	return nil
}

// programs returns the folder of the server's programs.
func programs() (string, error) {
	if path, err := exec.LookPath("pg_ctl"); err == nil {
		if path, err = filepath.EvalSymlinks(path); err == nil {
			return filepath.Dir(path), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/pg_ctl")
	if err != nil || len(found) == 0 {
		return "", ErrNotInstalled
	}
	return filepath.Dir(slices.MaxFunc(found, func(a, b string) int { return version(a) - version(b) })), nil
}

// version returns the number in the path of a program.
func version(path string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(filepath.Dir(path))))
	return n
}

// freePort returns a port on which no program listens.
func freePort() (int, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return 0, err
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port, nil
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// DSN returns how a client connects.
func (s *Server) DSN() string {
	return fmt.Sprintf("postgres://lapse@127.0.0.1:%d/postgres?sslmode=disable", s.Port)
}

// Configure adds lines to postgresql.conf. They hold from the next start, or from Reload on.
func (s *Server) Configure(lines ...string) error {
	f, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString("\n" + strings.Join(lines, "\n") + "\n")
	return errors.Join(err, f.Close())
}

// Launch starts the server, and returns once it answers.
func (s *Server) Launch(ctx context.Context) error {
	return s.run(ctx, "pg_ctl", "-D", s.data(), "-l", filepath.Join(s.Dir, "log"), "-w", "-t", "60", "start")
}

// Stop stops the server: "smart", "fast" or "immediate". A server that does not run is no error.
func (s *Server) Stop(mode string) error {
	if _, err := s.PID(); errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return s.run(context.Background(), "pg_ctl", "-D", s.data(), "-m", mode, "-w", "-t", "60", "stop")
}

// PID returns the process of the server. The error is fs.ErrNotExist if there is none.
func (s *Server) PID() (int, error) {
	text, err := os.ReadFile(filepath.Join(s.data(), "postmaster.pid"))
	if err != nil {
		return 0, err
	}
	first, _, _ := bytes.Cut(text, []byte("\n"))
	return strconv.Atoi(string(first))
}

// Kill kills the server and all its processes, as a crash does. Launch recovers it. It needs /proc.
func (s *Server) Kill() error {
	for {
		all, err := s.processes()
		if err != nil {
			return err
		}
		if len(all) == 0 { // the next server would take a dead process that is not reaped yet for the owner of this file
			return os.Remove(filepath.Join(s.data(), "postmaster.pid"))
		}
		if err := signal(all, syscall.SIGKILL); err != nil {
			return err
		}
		time.Sleep(time.Millisecond)
	}
}

// Pause stops the server and all its processes where they are, until Resume: connections stay, and nothing
// answers. Call Resume before Stop. It needs /proc.
func (s *Server) Pause() error {
	for stopped := []int(nil); ; { // a process may be starting another one
		all, err := s.processes()
		if err != nil || slices.Equal(all, stopped) {
			return err
		}
		if err := signal(all, syscall.SIGSTOP); err != nil {
			return err
		}
		stopped = all
	}
}

// Resume has the server go on after Pause.
func (s *Server) Resume() error {
	all, err := s.processes()
	if err != nil {
		return err
	}
	return signal(all, syscall.SIGCONT)
}

// signal sends sig to processes. One that has ended is no error.
func signal(pids []int, sig syscall.Signal) error {
	for _, pid := range pids {
		if err := syscall.Kill(pid, sig); err != nil && err != syscall.ESRCH {
			return err
		}
	}
	return nil
}

// processes returns the processes of the server: those that work in its data.
func (s *Server) processes() (pids []int, err error) {
	all, err := filepath.Glob("/proc/[0-9]*")
	if err != nil {
		return nil, err
	}
	data, err := filepath.EvalSymlinks(s.data())
	if err != nil {
		return nil, err
	}
	for _, dir := range all {
		if in, err := os.Readlink(filepath.Join(dir, "cwd")); err != nil || in != data {
			continue // another program, or one that has ended
		}
		if pid, err := strconv.Atoi(filepath.Base(dir)); err == nil {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// run runs a program of the server.
func (s *Server) run(ctx context.Context, name string, args ...string) error {
	cmd := exec.CommandContext(ctx, filepath.Join(s.bin, name), args...)
	cmd.Dir = s.Dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: s.as, Setsid: true}
	out, err := os.CreateTemp("", "pgtest") // pg_ctl leaves its output to the server, which keeps a pipe open
	if err != nil {
		return err
	}
	defer os.Remove(out.Name())
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Run(); err != nil {
		said, _ := os.ReadFile(out.Name())
		return fmt.Errorf("pgtest: %s: %w\n%s", name, err, said)
	}
	return nil
}

// Installed reports whether Start has programs to start.
func Installed() bool {
	_, err := programs()
	return err == nil
}
