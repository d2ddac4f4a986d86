package main

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestMain makes the test binary the command itself, for a scene that runs it.
func TestMain(m *testing.M) {
	if os.Getenv("CLI_LOGIN_COMMAND") != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// ttl is how long an access text lives in the tests.
const ttl = 20 * time.Minute

// scene is a server on the loopback, a command with its file, and an administrator.
type scene struct {
	t         *testing.T
	url, file string
	clock     *clock.Mock
	admin     *lapse.Manager
}

// newScene starts a server. Its time goes on by itself only when the command polls, by a second.
func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, clock: clock.NewMock(), file: filepath.Join(t.TempDir(), "folder", "session.json")}
	s.clock.Set(time.Date(2026, 5, 1, 12, 0, 0, 0, time.UTC))
	store := memory.New()
	server := httptest.NewUnstartedServer(nil)
	s.url = "http://" + server.Listener.Addr().String()
	handler, err := routes(store, s.url, ttl, s.clock)
	if err != nil {
		t.Fatal(err)
	}
	if s.admin, err = lapse.New(store, lapse.Config{Clock: s.clock}); err != nil {
		t.Fatal(err)
	}
	server.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/token" {
			s.clock.Add(time.Second)
		}
		handler.ServeHTTP(w, r)
	})
	server.Start()
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	return s
}

// command is a run of the command.
type command struct {
	*exec.Cmd
	t        *testing.T
	out, err *bytes.Buffer
}

// start starts the command in a process of its own.
func (s *scene) start(args ...string) *command {
	s.t.Helper()
	program, err := os.Executable()
	if err != nil {
		s.t.Fatal(err)
	}
	c := &command{exec.CommandContext(s.t.Context(), program, append(args, "-file", s.file)...), s.t, new(bytes.Buffer), new(bytes.Buffer)}
	c.Env, c.Stdout, c.Stderr = append(os.Environ(), "CLI_LOGIN_COMMAND=1"), c.out, c.err
	return c
}

// ends waits for the end of the command, and wants what it prints. An empty errs wants status 0.
func (c *command) ends(out, errs string) {
	c.t.Helper()
	err := c.Wait()
	if c.out.String() != out || c.err.String() != errs || (err == nil) != (errs == "") {
		c.t.Errorf("%v: %v\nprinted %q and %q\nwant    %q and %q", c.Args[1:2], err, c.out, c.err, out, errs)
	}
}

// does runs the command to its end, and wants what it prints.
func (s *scene) does(arg, out, errs string) {
	s.t.Helper()
	c := s.start(arg)
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	c.ends(out, errs)
}

var shown = regexp.MustCompile(`^Open (http://[0-9.:]+/) in a browser, and enter (\S+)\n$`)

// firstLine sends the first text that is written, and keeps the rest.
type firstLine struct {
	first chan string
	sent  bool
	rest  io.Writer
}

func (l *firstLine) Write(text []byte) (int, error) {
	if l.sent {
		return l.rest.Write(text)
	}
	l.sent = true
	l.first <- string(text) // it has room for one
	return len(text), nil
}

// begin runs the log-in until it waits for its user, and returns the code that it shows.
func (s *scene) begin(scope string) (c *command, code string) {
	s.t.Helper()
	c = s.start("login", "-server", s.url, "-scope", scope)
	first := make(chan string, 1)
	c.Stderr = &firstLine{first: first, rest: c.err}
	if err := c.Start(); err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Wait() }) // the context of the test has killed what still runs
	line := <-first
	found := shown.FindStringSubmatch(line)
	if found == nil || found[1] != s.url+"/" {
		s.t.Fatalf("it prints %q", line)
	}
	return c, found[2]
}
