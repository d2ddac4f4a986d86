package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"github.com/coder/websocket"

	"github.com/seed-55daa01a/lapse"
)

// scene is a server on a real file and a real port, and a clock that stands still.
type scene struct {
	*app
	t      testing.TB
	cfg    config
	clock  *clock.Mock
	logged *ledger
	stop   func() error // as Ctrl-C does, and waits
}

const (
	ttl    = 2 * time.Minute
	maxTTL = 10 * time.Minute
	most   = 3
)

func newScene(t testing.TB) *scene {
	s := &scene{t: t, clock: clock.NewMock(), logged: &ledger{}}
	s.clock.Set(time.Date(2026, time.January, 5, 14, 30, 0, 0, time.UTC))
	s.cfg = config{
		addr: "127.0.0.1:0", db: filepath.Join(t.TempDir(), "devices.db"),
		ttl: ttl, maxTTL: maxTTL, most: most, clock: s.clock,
		log: slog.New(slog.NewTextHandler(s.logged, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	s.start()
	t.Cleanup(func() { s.stop() })
	return s
}

// start serves on the file and, the second time, on the port of the first.
func (s *scene) start() {
	s.t.Helper()
	a, err := open(s.cfg)
	if err != nil {
		s.t.Fatal(err)
	}
	s.app = a
	s.cfg.addr = a.ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- a.serve(ctx) }()
	s.stop = sync.OnceValue(func() error {
		cancel()
		return <-served
	})
}

// ledger is what was logged.
type ledger struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *ledger) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *ledger) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// ask sends a request with token, if there is one, and decodes the answer.
func (s *scene) ask(method, path, token string, body, into any) (status int) {
	s.t.Helper()
	text, _ := json.Marshal(body)
	req, err := http.NewRequestWithContext(context.Background(), method, s.url+path, bytes.NewReader(text))
	if err != nil {
		s.t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		s.t.Fatal(err)
	}
	return res.StatusCode
}

// signIn returns the token of a new device.
func (s *scene) signIn(person, device string) string {
	s.t.Helper()
	var got struct{ Token string }
	if status := s.ask("POST", "devices", "", map[string]string{"person": person, "device": device}, &got); status != http.StatusCreated {
		s.t.Fatalf("sign in: status %d", status)
	}
	return got.Token
}

func (s *scene) ticket(token string) string {
	s.t.Helper()
	var got struct{ Ticket string }
	if status := s.ask("POST", "tickets", token, nil, &got); status != http.StatusCreated {
		s.t.Fatalf("ticket: status %d", status)
	}
	return got.Ticket
}

func TestSignInRefuses(t *testing.T) {
	s := newScene(t)
	for name, asked := range map[string]any{
		"no name":     map[string]string{"device": "laptop"},
		"only spaces": map[string]string{"person": "  "},
		"a long name": map[string]string{"person": strings.Repeat("a", 256)},
		"no object":   "ana",
	} {
		var got failure
		if status := s.ask("POST", "devices", "", asked, &got); status != http.StatusBadRequest || got.Error == "" {
			t.Errorf("%s: status %d, %q; want 400 and why", name, status, got.Error)
		}
	}
}

// A page that cannot open its socket learns whether to give up, and the asking
// keeps no token alive.
func TestWhoAmI(t *testing.T) {
	s := newScene(t)
	token := s.signIn("ana", "laptop")
	var got struct{ Person, Device string }
	s.clock.Add(ttl - time.Millisecond)
	if status := s.ask("GET", "device", token, nil, &got); status != http.StatusOK || got.Person != "ana" || got.Device != "laptop" {
		t.Errorf("status %d, %+v", status, got)
	}
	s.clock.Add(time.Millisecond)
	var no failure
	if status := s.ask("GET", "device", token, nil, &no); status != http.StatusUnauthorized || no.Reason != "ran out" {
		t.Errorf("at its expiry: status %d, reason %q", status, no.Reason)
	}
	if status := s.ask("GET", "device", mistyped(token), nil, &no); status != http.StatusUnauthorized || no.Reason != "unknown" {
		t.Errorf("mistyped: status %d, reason %q", status, no.Reason)
	}
	s.store.Close()
	if status := s.ask("GET", "device", token, nil, &no); status != http.StatusServiceUnavailable {
		t.Errorf("with a closed store: status %d", status)
	}
}

// mistyped returns token with another last character.
func mistyped(token string) string {
	last := "0"
	if strings.HasSuffix(token, last) {
		last = "1"
	}
	return token[:len(token)-1] + last
}

// Ctrl-C says to each socket that the server goes away, and closes the file.
func TestStop(t *testing.T) {
	s := newScene(t)
	token := s.signIn("ana", "laptop")
	conn := s.dial(token)
	closed := make(chan error, 1)
	go func() { closed <- conn.drain() }()
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	if code := websocket.CloseStatus(<-closed); code != websocket.StatusGoingAway {
		t.Errorf("closed with %d, want 1001", code)
	}
	if _, err := s.srv.devices.Peek(t.Context(), token); !errors.Is(err, lapse.ErrClosed) {
		t.Errorf("the store is not closed: %v", err)
	}
	s.start()
	if again := s.dial(token); again.view().Person != "ana" {
		t.Error("a restart signed somebody out")
	}
}

func TestOpenFails(t *testing.T) {
	s := newScene(t)
	other := s.cfg
	other.db = filepath.Join(t.TempDir(), "other.db")
	if _, err := open(other); err == nil || !strings.Contains(err.Error(), "-addr") {
		t.Errorf("on a port that is taken: %v; want what to do", err)
	}
	other.addr, other.ttl = "127.0.0.1:0", 0
	if _, err := open(other); err == nil || !strings.Contains(err.Error(), "-ttl") {
		t.Errorf("with no TTL: %v", err)
	}
	other.ttl = maxTTL + time.Millisecond
	if _, err := open(other); !errors.Is(err, lapse.ErrInvalidConfig) {
		t.Errorf("with a TTL above the cap: %v", err)
	}
	other.ttl = ttl
	if a, err := open(other); err != nil {
		t.Errorf("the file was left open: %v", err)
	} else {
		a.ln.Close()
		a.store.Close()
	}
	if _, err := open(s.cfg); !errors.Is(err, lapse.ErrLocked) {
		t.Errorf("on a file in use: %v", err)
	}
}

// The page needs nothing from elsewhere, and its files are there.
func TestPage(t *testing.T) {
	s := newScene(t)
	for path, kind := range map[string]string{"": "text/html", "style.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"} {
		res, err := http.Get(s.url + path)
		if err != nil {
			t.Fatal(err)
		}
		text, _ := io.ReadAll(res.Body)
		res.Body.Close()
		if got := res.Header.Get("Content-Type"); res.StatusCode != 200 || !strings.HasPrefix(got, kind) {
			t.Errorf("/%s: status %d, %s", path, res.StatusCode, got)
		}
		if rest := strings.ReplaceAll(string(text), `xmlns="http://www.w3.org/2000/svg"`, ""); strings.Contains(rest, "//www.") || strings.Contains(rest, "https://") {
			t.Errorf("/%s names another host", path)
		}
		if csp := res.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "default-src 'none'") {
			t.Errorf("/%s: policy %q", path, csp)
		}
	}
}
