package admin

import (
	"bufio"
	"context"
	"encoding/json"
	"net"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

var start = time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)

// program is a program with a Server: a bolt store, two Managers and Pairs.
type program struct {
	t       *testing.T
	path    string // of the socket
	clock   *clock.Mock
	store   *bolt.Store
	users   *lapse.Manager // "lapse"
	keys    *lapse.Manager // "key"
	pairs   *lapse.Pairs   // "web", "web_refresh"
	mu      sync.Mutex
	events  []lapse.Event
	observe func(context.Context, lapse.Event)       // of users, besides events
	admit   func(context.Context, lapse.Token) error // of users
	server  Server
	stop    func() // ends Serve, and waits
}

func newProgram(t *testing.T) *program {
	t.Helper()
	dir := t.TempDir()
	p := &program{t: t, path: filepath.Join(dir, "s"), clock: clock.NewMock()}
	p.clock.Set(start)
	var err error
	if p.store, err = bolt.Open(filepath.Join(dir, "tokens.db"), nil); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.store.Close() })
	cfg := lapse.Config{Clock: p.clock, Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 24 * time.Hour}}
	cfg.Observe = func(ctx context.Context, e lapse.Event) {
		p.mu.Lock()
		p.events = append(p.events, e)
		p.mu.Unlock()
		if p.observe != nil {
			p.observe(ctx, e)
		}
	}
	cfg.Admit = func(ctx context.Context, tok lapse.Token) error {
		if p.admit != nil {
			return p.admit(ctx, tok)
		}
		return nil
	}
	p.users = must(lapse.New(p.store, cfg))
	cfg.Prefix, cfg.Observe, cfg.Admit = "key", nil, nil
	cfg.Policy.MaxTokens = 2
	p.keys = must(lapse.New(p.store, cfg))
	p.pairs = must(lapse.NewPairs(p.store, lapse.PairConfig{
		Access: lapse.Config{Prefix: "web", Clock: p.clock}, Refresh: lapse.Config{Prefix: "web_refresh"},
	}))
	p.server = Server{Managers: []*lapse.Manager{p.users, p.keys}, Pairs: []*lapse.Pairs{p.pairs}, Store: p.store}
	return p
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// serve runs the Server until stop, or the end of the test.
func (p *program) serve() *program {
	p.t.Helper()
	l, err := net.Listen("unix", p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		p.server.Serve(ctx, l)
	}()
	p.stop = func() {
		cancel()
		<-ended
	}
	p.t.Cleanup(p.stop)
	return p
}

// dial returns a Client.
func (p *program) dial() *Client {
	p.t.Helper()
	c, err := Dial(p.t.Context(), p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	p.t.Cleanup(func() { c.Close() })
	return c
}

// line is a connection that sends and reads lines as they are.
type line struct {
	t *testing.T
	net.Conn
	r *bufio.Reader
}

// raw returns a connection that has said hello, unless hello is false.
func (p *program) raw(hello bool) *line {
	p.t.Helper()
	conn, err := net.Dial("unix", p.path)
	if err != nil {
		p.t.Fatal(err)
	}
	conn.SetDeadline(time.Now().Add(5 * time.Minute)) // for a server that hangs, and not for a slow machine
	return newLine(p.t, conn, hello)
}

func newLine(t *testing.T, conn net.Conn, hello bool) *line {
	t.Helper()
	t.Cleanup(func() { conn.Close() })
	l := &line{t, conn, bufio.NewReader(conn)}
	if hello {
		l.say(`{"jsonrpc":"2.0","id":0,"method":"hello","params":{"version":1}}`)
		if a := l.hear(); a.Error != nil {
			t.Fatal(a.Error)
		}
	}
	return l
}

// say sends a line.
func (l *line) say(text string) {
	l.t.Helper()
	if _, err := l.Write([]byte(text + "\n")); err != nil {
		l.t.Fatal(err)
	}
}

// hear reads a line.
func (l *line) hear() (a answer) {
	l.t.Helper()
	text, err := l.r.ReadString('\n')
	if err != nil {
		l.t.Fatal("no answer:", err)
	}
	if len(text) > maxLine+1 {
		l.t.Errorf("an answer of %d bytes", len(text))
	}
	d := json.NewDecoder(strings.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		l.t.Fatalf("%q: %v", text, err)
	}
	return a
}
