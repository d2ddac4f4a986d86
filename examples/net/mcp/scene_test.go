package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

const (
	ttl      = 30 * time.Minute
	patience = time.Minute // with what takes no time
)

// scene is a real server. lapse is on a clock that the test moves. It begins now, and goes ahead: the
// SDK compares the expiry with the clock of the system, too.
type scene struct {
	t      *testing.T
	tokens *lapse.Manager
	store  *memory.Store
	clock  *clock.Mock
	tick   chan time.Time // lets the tool clock report once more
	url    string
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, store: memory.New(), clock: clock.NewMock(), tick: make(chan time.Time)}
	s.clock.Set(time.Now())
	var err error
	if s.tokens, err = lapse.New(s.store, lapse.Config{Clock: s.clock, Policy: lapse.Policy{TTL: ttl}}); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(routes(s.tokens, func(time.Duration) <-chan time.Time { return s.tick }))
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.url = server.URL
	return s
}

func (s *scene) issue(subject, scope string) lapse.Issued {
	s.t.Helper()
	i, err := s.tokens.Issue(s.t.Context(), lapse.Grant{Subject: subject, Scope: scope})
	if err != nil {
		s.t.Fatal(err)
	}
	return i
}

const initialize = `{"jsonrpc": "2.0", "id": 1, "method": "initialize", "params":
	{"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}}`

// send sends one request as a client would that was not written with the SDK. session is "" before there
// is one.
func (s *scene) send(method, authorization, session, body string) *http.Response {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	r, err := http.NewRequestWithContext(ctx, method, s.url, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	r.Header.Set("Accept", "application/json, text/event-stream")
	r.Header.Set("Content-Type", "application/json")
	for name, value := range map[string]string{"Authorization": authorization, "Mcp-Session-Id": session} {
		if value != "" {
			r.Header.Set(name, value)
		}
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { answer.Body.Close() })
	return answer
}

func (s *scene) read(answer *http.Response) string {
	s.t.Helper()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(body)
}

// open opens a session with i, and returns its ID.
func (s *scene) open(i lapse.Issued) string {
	s.t.Helper()
	answer := s.send("POST", "Bearer "+i.Bearer, "", initialize)
	id := answer.Header.Get("Mcp-Session-Id")
	if body := s.read(answer); answer.StatusCode != http.StatusOK || id == "" {
		s.t.Fatalf("%s: %s", answer.Status, body)
	}
	return id
}
