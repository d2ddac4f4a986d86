package main

import (
	"bytes"
	"context"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

var start = time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)

// TestMain takes the variables of the environment away that say which tokens are meant.
func TestMain(m *testing.M) {
	for _, name := range []string{"LAPSE_FILE", "LAPSE_SOCKET", "LAPSE_DSN", "LAPSE_SCHEMA", "LAPSE_PREFIX", "LAPSE_JSON"} {
		os.Unsetenv(name)
	}
	time.Local = time.UTC
	code := withServer(m.Run)
	os.RemoveAll(binary.dir)
	os.Exit(code)
}

// binary is the compiled command, once a test needs it.
var binary struct {
	sync.Mutex
	dir string
}

// built returns the path of the command, compiled. Every user may run it.
func built(t testing.TB) string {
	t.Helper()
	binary.Lock()
	defer binary.Unlock()
	if binary.dir == "" {
		dir, err := os.MkdirTemp("", "lapse-bin-")
		if err != nil {
			t.Fatal(err)
		}
		binary.dir = dir
		if out, err := exec.Command("go", "build", "-o", filepath.Join(dir, "lapse"), ".").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return filepath.Join(binary.dir, "lapse")
}

// world is a store with tokens, and how the command reaches it.
type world struct {
	t     testing.TB
	clock *clock.Mock
	store storage.Store
	users *lapse.Manager // "lapse"
	pairs *lapse.Pairs   // "web", "web_refresh"
	file  string         // of a bolt store
	args  []string       // which tokens, for the command
	stop  func()         // ends the program
}

// worlds are the places that tokens can be in.
var worlds = map[string]func(testing.TB) *world{
	"file":     fileAlone,
	"in use":   fileInUse,
	"memory":   inMemory,
	"database": inDatabase,
}

// everywhere runs test in each of the worlds.
func everywhere(t *testing.T, test func(*testing.T, *world)) {
	for name, make := range worlds {
		t.Run(name, func(t *testing.T) { test(t, make(t)) })
	}
}

// fileAlone is a file that no program has open while the command runs.
func fileAlone(t testing.TB) *world {
	w := &world{t: t, clock: clock.NewMock(), file: filepath.Join(t.TempDir(), "tokens.db")}
	w.clock.Set(start)
	w.args = []string{"--file", w.file}
	w.open(boltAt(t, w.file))
	return w
}

// fileInUse is a file that a program has open, which serves the socket of the file.
func fileInUse(t testing.TB) *world {
	t.Setenv("XDG_RUNTIME_DIR", privateDir(t))
	w := fileAlone(t)
	path, err := admin.DefaultPath(w.file)
	if err != nil {
		t.Fatal(err)
	}
	w.serve(path)
	return w
}

// inMemory is a program that keeps tokens in memory and serves a socket.
func inMemory(t testing.TB) *world {
	w := &world{t: t, clock: clock.NewMock()}
	w.clock.Set(start)
	w.open(memory.New())
	path := filepath.Join(privateDir(t), "s")
	w.args = []string{"--socket", path}
	w.serve(path)
	return w
}

func boltAt(t testing.TB, path string) *bolt.Store {
	t.Helper()
	s, err := bolt.Open(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func privateDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lapse-") // t.TempDir is too long for the path of a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// open gives the Managers of w store.
func (w *world) open(store storage.Store) {
	w.t.Helper()
	w.store = store
	w.t.Cleanup(func() { w.store.Close() })
	var err error
	if w.users, err = lapse.New(store, lapse.Config{Clock: w.clock, Policy: lapse.Policy{TTL: time.Hour}}); err != nil {
		w.t.Fatal(err)
	}
	w.pairs, err = lapse.NewPairs(store, lapse.PairConfig{Access: lapse.Config{Prefix: "web", Clock: w.clock}, Refresh: lapse.Config{Prefix: "web_refresh"}})
	if err != nil {
		w.t.Fatal(err)
	}
}

// serve lets the command reach the tokens at path.
func (w *world) serve(path string) {
	w.t.Helper()
	l, err := admin.Listen(path)
	if err != nil {
		w.t.Fatal(err)
	}
	w.stop = w.serveOn(l, nil)
}

// share lets the users of allow reach the tokens at path, in a directory that is open to them.
func (w *world) share(path string, allow admin.Allow) {
	w.t.Helper()
	l, err := net.Listen("unix", path)
	if err != nil {
		w.t.Fatal(err)
	}
	if err := os.Chmod(path, 0o666); err != nil {
		w.t.Fatal(err)
	}
	w.serveOn(l, allow)
}

// serveOn serves the tokens on l until stop is called, or the end of the test.
func (w *world) serveOn(l net.Listener, allow admin.Allow) (stop func()) {
	server := admin.Server{Managers: []*lapse.Manager{w.users}, Pairs: []*lapse.Pairs{w.pairs}, Allow: allow}
	server.Store, _ = w.store.(admin.Store)
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		server.Serve(ctx, l)
	}()
	stop = func() {
		cancel()
		<-ended
	}
	w.t.Cleanup(stop)
	return stop
}

// alone reports whether no program serves the tokens of w.
func (w *world) alone() bool { return w.stop == nil }

// issue issues a token of subject.
func (w *world) issue(g lapse.Grant) lapse.Issued {
	w.t.Helper()
	i, err := w.users.Issue(w.t.Context(), g)
	if err != nil {
		w.t.Fatal(err)
	}
	return i
}

// token returns the token of id as it is stored.
func (w *world) token(id lapse.ID) lapse.Token {
	w.t.Helper()
	tok, err := w.users.Token(w.t.Context(), id)
	if err != nil {
		w.t.Fatal(err)
	}
	return tok
}

// answer is what a run of the command printed and returned.
type answer struct {
	stdout, stderr string
	code           int
}

// lapse runs the command on the tokens of w, with input on its standard input.
func (w *world) lapse(input string, args ...string) answer {
	w.t.Helper()
	defer w.lend()()
	return lapseAt(w.t, w.clock, input, append(w.args[:len(w.args):len(w.args)], args...)...)
}

// lend closes a file that the command needs for itself, until back is called.
func (w *world) lend() (back func()) {
	if !w.alone() || w.file == "" {
		return func() {}
	}
	w.store.Close()
	return func() { w.open(boltAt(w.t, w.file)) }
}

// lapseAt runs the command by the clock c.
func lapseAt(t testing.TB, c lapse.Clock, input string, args ...string) answer {
	t.Helper()
	var out, err bytes.Buffer
	a := &app{ctx: t.Context(), clock: c, stdin: strings.NewReader(input), stdout: &out, stderr: &err}
	code := a.run(args)
	return answer{out.String(), err.String(), code}
}

// wants fails the test unless the command ended with code and printed each text.
func (a answer) wants(t testing.TB, code int, texts ...string) answer {
	t.Helper()
	if a.code != code {
		t.Fatalf("exit %d, want %d; printed:\n%s%s", a.code, code, a.stdout, a.stderr)
	}
	for _, text := range texts {
		if !strings.Contains(a.stdout+a.stderr, text) {
			t.Errorf("printed:\n%s%s\nwant %q in it", a.stdout, a.stderr, text)
		}
	}
	return a
}
