package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/modelcontextprotocol/go-sdk/mcp"

	"github.com/seed-55daa01a/lapse"
)

// TestAnswers sends a request by hand, and opens a session with the client of the SDK. The bodies are
// fixed, so they name no token and no instant.
func TestAnswers(t *testing.T) {
	for name, row := range map[string]struct {
		scope  string
		change func(s *scene, i lapse.Issued) error
		status int
		body   string
	}{
		"good":            {scope, nil, 200, ""},
		"good, and more":  {"a " + scope + " b", nil, 200, ""},
		"no scope":        {"", nil, 403, "insufficient scope\n"},
		"another scope":   {"clock:set", nil, 403, "insufficient scope\n"},
		"about to expire": {scope, func(s *scene, _ lapse.Issued) error { s.clock.Add(ttl - time.Second); return nil }, 200, ""},
		"expired":         {scope, func(s *scene, _ lapse.Issued) error { s.clock.Add(ttl); return nil }, 401, "invalid token\n"},
		"ended":           {scope, func(s *scene, i lapse.Issued) error { _, err := s.tokens.Expire(s.t.Context(), i.ID); return err }, 401, "invalid token\n"},
		"suspended":       {scope, func(s *scene, i lapse.Issued) error { _, err := s.tokens.Suspend(s.t.Context(), i.ID); return err }, 401, "invalid token\n"},
		"store closed":    {scope, func(s *scene, _ lapse.Issued) error { return s.store.Close() }, 503, "try again\n"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			i := s.issue("ana", row.scope)
			if row.change != nil {
				if err := row.change(s, i); err != nil {
					t.Fatal(err)
				}
			}
			if headers := checkAnswer(t, s, "Bearer "+i.Bearer, row.status, row.body); strings.Contains(headers, i.ID.String()) {
				t.Errorf("the headers name the token:\n%s", headers)
			}
			session, err := connect(t.Context(), s.url, i.Bearer, nil)
			if (err == nil) != (row.status == http.StatusOK) {
				t.Errorf("the client of the SDK: %v", err)
			}
			if err == nil {
				session.Close()
			} else if strings.Contains(err.Error(), i.ID.String()) || !strings.Contains(err.Error(), http.StatusText(row.status)) {
				t.Errorf("the client of the SDK: %v", err)
			}
		})
	}
}

// TestNoToken sends what is no token of this server.
func TestNoToken(t *testing.T) {
	s, other := newScene(t), newScene(t).issue("ana", scope)
	for authorization, body := range map[string]string{
		"":                       "no bearer token\n",
		"Bearer":                 "no bearer token\n",
		"Basic YW5hOnNlY3JldA==": "no bearer token\n",
		"Bearer secret":          "invalid token\n",
		"Bearer " + other.Bearer: "invalid token\n",
		"bearer " + s.issue("ana", scope).Bearer + " more": "no bearer token\n",
	} {
		checkAnswer(t, s, authorization, 401, body)
	}
	checkAnswer(t, s, "bearer  "+s.issue("ana", scope).Bearer, 200, "")
}

// TestRedirect: the client sends its token to no server to which another one leads it.
func TestRedirect(t *testing.T) {
	var sent atomic.Value
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		sent.Store(r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusNotFound)
	}))
	defer thief.Close()
	server := httptest.NewServer(http.RedirectHandler(thief.URL, http.StatusTemporaryRedirect))
	defer server.Close()
	session, err := connect(t.Context(), server.URL, "secret", nil)
	if err == nil {
		session.Close()
		t.Error("the client takes a redirect for an answer")
	}
	if told := sent.Load(); told != nil {
		t.Errorf("the other server is sent %q", told)
	}
}

// checkAnswer checks the answer to an initialize, and which headers come with it. It
// returns all headers.
func checkAnswer(t *testing.T, s *scene, authorization string, status int, body string) string {
	t.Helper()
	answer := s.send("POST", authorization, "", initialize)
	got := s.read(answer)
	if answer.StatusCode != status || got != body && status != http.StatusOK {
		t.Errorf("%q: %s, %q; want %d, %q", authorization, answer.Status, got, status, body)
	}
	challenge, retry := answer.Header.Get("WWW-Authenticate"), answer.Header.Get("Retry-After")
	if refused := status == 401 || status == 403; (challenge == `Bearer scope="`+scope+`"`) != refused {
		t.Errorf("%q: %d with the challenge %q", authorization, status, challenge)
	}
	if (retry == "1") != (status == 503) {
		t.Errorf("%q: %d with Retry-After %q", authorization, status, retry)
	}
	var headers bytes.Buffer
	answer.Header.Write(&headers)
	return headers.String()
}

// TestToolsKnowTheToken: scope and expiry reach the tools, and each request renews the token.
func TestToolsKnowTheToken(t *testing.T) {
	s := newScene(t)
	session, err := connect(t.Context(), s.url, s.issue("ana", scope).Bearer, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer session.Close()
	for range 3 {
		s.clock.Add(ttl - time.Second)
		result, err := session.CallTool(t.Context(), &mcp.CallToolParams{Name: "whoami"})
		if err != nil {
			t.Fatal(err)
		}
		want := fmt.Sprintf("ana may use %s until %s", scope, s.tokens.Now().Add(ttl).Format(time.TimeOnly))
		if got := result.Content[0].(*mcp.TextContent).Text; got != want {
			t.Errorf("whoami: %q; want %q", got, want)
		}
	}
}

// TestStreamsDieWithTheToken: a call that runs, and the stream of a session, end when the token does.
func TestStreamsDieWithTheToken(t *testing.T) {
	for name, row := range map[string]struct {
		end    func(s *scene, i lapse.Issued) error
		status int // of the next request
	}{
		"ran out": {func(s *scene, _ lapse.Issued) error { s.clock.Add(ttl); return nil }, 401},
		"ended":   {func(s *scene, i lapse.Issued) error { _, err := s.tokens.Expire(s.t.Context(), i.ID); return err }, 401},
		"all of ana's": {func(s *scene, _ lapse.Issued) error {
			_, err := s.tokens.ExpireSubject(s.t.Context(), "ana")
			return err
		}, 401},
		"store closed": {func(s *scene, _ lapse.Issued) error { return s.store.Close() }, 503},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			i := s.issue("ana", scope)
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			reports := make(chan string, 9)
			session, err := connect(ctx, s.url, i.Bearer, func(text string) { reports <- text })
			if err != nil {
				t.Fatal(err)
			}
			defer session.Close()
			stream := s.send("GET", "Bearer "+i.Bearer, s.open(i), "")
			called := make(chan error, 1)
			go func() {
				params := &mcp.CallToolParams{Name: "clock"}
				params.SetProgressToken("clock")
				result, err := session.CallTool(ctx, params)
				if err == nil && result.IsError {
					err = errCut
				}
				called <- err
			}()
			<-reports
			s.tick <- s.clock.Now()
			<-reports
			if err := row.end(s, i); err != nil {
				t.Fatal(err)
			}
			if err := <-called; err == nil || ctx.Err() != nil {
				t.Errorf("the call outlives the token: %v", err)
			}
			if body := s.read(stream); stream.StatusCode != http.StatusOK || strings.Contains(body, "data:") {
				t.Errorf("the stream of the session: %s, %q", stream.Status, body)
			}
			select {
			case s.tick <- s.clock.Now():
				t.Error("the tool runs on after the end of the token")
			default:
			}
			if answer := s.send("POST", "Bearer "+i.Bearer, "", initialize); answer.StatusCode != row.status {
				t.Errorf("the next request: %s; want %d", answer.Status, row.status)
			}
		})
	}
}

// TestCall runs the client of this program until the token ends.
func TestCall(t *testing.T) {
	s := newScene(t)
	i := s.issue("ana", scope)
	out, in := io.Pipe()
	go func() {
		call(t.Context(), in, s.url, i.Bearer)
		in.Close()
	}()
	lines := bufio.NewScanner(out)
	for _, want := range []string{"ana may use " + scope + " until ", s.tokens.Now().Format(time.TimeOnly)} {
		if !lines.Scan() || !strings.HasPrefix(lines.Text(), want) {
			t.Errorf("the client says %q; want %q", lines.Text(), want)
		}
	}
	if _, err := s.tokens.Expire(t.Context(), i.ID); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
		if lines.Text() != errCut.Error() { // or the stream ends first
			t.Errorf("the client says %q", lines.Text())
		}
	}
}

// TestSessionsAreOfOneSubject: the SDK refuses the token of another subject in a session. Another token
// of the same subject is good there.
func TestSessionsAreOfOneSubject(t *testing.T) {
	s := newScene(t)
	session := s.open(s.issue("ana", scope))
	const ping = `{"jsonrpc": "2.0", "id": 2, "method": "ping"}`
	for subject, want := range map[string]int{"ana": 200, "bob": 403} {
		answer := s.send("POST", "Bearer "+s.issue(subject, scope).Bearer, session, ping)
		if body := s.read(answer); answer.StatusCode != want {
			t.Errorf("%s: %s, %s; want %d", subject, answer.Status, body, want)
		}
	}
}

// TestHoldsAreReleased: a request holds its token for as long as it lasts, and no longer.
func TestHoldsAreReleased(t *testing.T) {
	s := newScene(t)
	i := s.issue("ana", scope)
	for range 3 {
		s.open(i)
	}
	count := func(verb lapse.Verb) uint64 { return s.tokens.Stats().Get(lapse.StatKey{Verb: verb, Outcome: "ok"}) }
	for begun := time.Now(); count(lapse.VerbRelease) != 3; time.Sleep(time.Millisecond) {
		if time.Since(begun) > patience {
			t.Fatalf("%d of %d holds were released", count(lapse.VerbRelease), count(lapse.VerbHold))
		}
	}
}
