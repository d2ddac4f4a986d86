package lapsehttp_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/transport/lapsehttp"
)

// patience is how long a test waits for what must happen.
const patience = 20 * time.Second

// streams is a server whose handler at / is held, and what its handlers were told.
type streams struct {
	*world
	*httptest.Server
	ended chan error // why the context of a handler ended
}

// serveStreams serves handler behind Hold.
func serveStreams(t *testing.T, handler func(s *streams, w http.ResponseWriter, r *http.Request)) *streams {
	s := &streams{world: newWorldOver(t, memory.New(), nil), ended: make(chan error, 64)}
	g := must(lapsehttp.New(s.pairs.Access(), lapsehttp.Options{}))
	s.Server = httptest.NewServer(g.Hold(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(s, w, r) })))
	t.Cleanup(s.Close)
	return s
}

// open opens a stream by text, and reads its first line.
func (s *streams) open(text string) *bufio.Reader {
	s.t.Helper()
	r := must(http.NewRequestWithContext(s.t.Context(), "GET", s.URL, nil))
	r.Header.Set("Authorization", "Bearer "+text)
	answer := must(http.DefaultClient.Do(r))
	s.t.Cleanup(func() { answer.Body.Close() })
	lines := bufio.NewReader(answer.Body)
	if line, err := lines.ReadString('\n'); line != "begun\n" {
		s.t.Fatalf("%q, %v", line, err)
	}
	return lines
}

// wantEnded waits for a handler to see its context end for want.
func (s *streams) wantEnded(what string, want error) {
	s.t.Helper()
	select {
	case cause := <-s.ended:
		if !errors.Is(cause, want) {
			s.t.Errorf("%s: %v, want %v", what, cause, want)
		}
	case <-time.After(patience):
		s.t.Fatalf("%s: the context of the handler does not end", what)
	}
}

// events is the handler of a stream of events.
func events(s *streams, w http.ResponseWriter, r *http.Request) {
	io.WriteString(w, "begun\n")
	http.NewResponseController(w).Flush()
	<-r.Context().Done()
	s.ended <- context.Cause(r.Context())
}

// TestHold: whatever ends a token ends its streams, and the next request gets 401.
func TestHold(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(s *streams, p lapse.TokenPair)
		want error
	}{
		"ended":                 {func(s *streams, p lapse.TokenPair) { s.pairs.Access().Expire(s.t.Context(), p.Access.ID) }, lapse.ErrRevoked},
		"suspended":             {func(s *streams, p lapse.TokenPair) { s.pairs.Access().Suspend(s.t.Context(), p.Access.ID) }, lapse.ErrSuspended},
		"logged out everywhere": {func(s *streams, p lapse.TokenPair) { s.pairs.Access().ExpireSubject(s.t.Context(), "ana") }, lapse.ErrRevoked},
		"expired":               {func(s *streams, p lapse.TokenPair) { s.clock.Add(15 * time.Minute) }, lapse.ErrExpired},
	} {
		s := serveStreams(t, events)
		pair := s.issue("", lapse.Grant{})
		lines := s.open(pair.Access.Bearer)
		row.end(s, pair)
		s.wantEnded(name, row.want)
		if rest, err := io.ReadAll(lines); len(rest) > 0 || err != nil {
			t.Errorf("%s: the stream ends with %q, %v", name, rest, err)
		}
		r := must(http.NewRequest("GET", s.URL, nil))
		r.Header.Set("Authorization", "Bearer "+pair.Access.Bearer)
		answer := must(http.DefaultClient.Do(r))
		answer.Body.Close()
		if answer.StatusCode != 401 || answer.Header.Get("WWW-Authenticate") != invalidToken {
			t.Errorf("%s: the next request: %s", name, answer.Status)
		}
	}
}

// TestHoldOfMany: one ExpireSubject ends the 64 streams of a subject, and no other stream. A client that
// goes leaves no hold behind.
func TestHoldOfMany(t *testing.T) {
	s := serveStreams(t, events)
	for range 64 {
		s.open(s.issue("", lapse.Grant{}).Access.Bearer)
	}
	other := s.issue("", lapse.Grant{Subject: "ben"})
	s.open(other.Access.Bearer)
	must(s.pairs.Access().ExpireSubject(t.Context(), "ana"))
	for range 64 {
		s.wantEnded("a stream of ana", lapse.ErrRevoked)
	}
	if answer := s.get("/held", "Bearer "+s.issue("", lapse.Grant{}).Access.Bearer); answer.Code != 200 {
		t.Errorf("%d", answer.Code) // its handler returns at once, and its hold with it
	}
	held := 0
	for h, err := range s.pairs.Access().Holds(t.Context()) {
		if must(h, err); h.Token.ID == other.Access.ID {
			held += h.Connections
		} else {
			t.Errorf("a connection of %s is left", h.Token.Subject)
		}
	}
	if held != 1 || len(s.ended) > 0 {
		t.Errorf("ben has %d connections", held)
	}
	s.CloseClientConnections()
	s.wantEnded("the stream of a client that has gone", context.Canceled)
}

// TestHoldOutlivesARefresh: a stream by an access text goes on when its session is refreshed, and
// each message may be a use.
func TestHoldOutlivesARefresh(t *testing.T) {
	s := serveStreams(t, func(s *streams, w http.ResponseWriter, r *http.Request) {
		hold, ok := lapsehttp.HoldFrom(r.Context())
		tok, known := lapsehttp.TokenFrom(r.Context())
		if !ok || !known || hold.Token().ID != tok.ID {
			panic("a held handler without its hold")
		}
		events(s, w, r)
	})
	pair := s.issue("", lapse.Grant{})
	s.open(pair.Access.Bearer)
	s.clock.Add(14 * time.Minute)
	next := must(s.pairs.Refresh(t.Context(), pair.Refresh.Bearer))
	s.clock.Add(14 * time.Minute)
	if len(s.ended) > 0 {
		t.Fatal("a refresh ended the stream")
	}
	must(s.pairs.ExpireBearer(t.Context(), next.Refresh.Bearer))
	s.wantEnded("logged out", lapse.ErrRevoked)
}

// TestHoldOfAHijackedConnection: after Hijack the context still ends with the token, the server closes
// nothing by itself, and the handler can say goodbye.
func TestHoldOfAHijackedConnection(t *testing.T) {
	s := serveStreams(t, func(s *streams, w http.ResponseWriter, r *http.Request) {
		conn, both, err := http.NewResponseController(w).Hijack()
		if err != nil {
			s.ended <- err
			return
		}
		defer conn.Close()
		fmt.Fprint(both, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: lines\r\n\r\nbegun\n")
		both.Flush()
		<-r.Context().Done()
		io.WriteString(conn, "goodbye\n")
		s.ended <- context.Cause(r.Context())
	})
	pair := s.issue("", lapse.Grant{})
	conn := must(net.Dial("tcp", strings.TrimPrefix(s.URL, "http://")))
	defer conn.Close()
	conn.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: lines\r\nAuthorization: Bearer %s\r\n\r\n", pair.Access.Bearer)
	lines := bufio.NewReader(conn)
	for line := ""; line != "begun\n"; {
		line = must(lines.ReadString('\n'))
	}
	must(s.pairs.ExpireBearer(t.Context(), pair.Access.Bearer))
	s.wantEnded("hijacked", lapse.ErrRevoked)
	if rest := string(must(io.ReadAll(lines))); rest != "goodbye\n" {
		t.Errorf("the client gets %q", rest)
	}
}

// endWrites has the writes of a stream fail once its context has ended, as the doc of the package says. The
// handler defers what it returns.
func endWrites(w http.ResponseWriter, r *http.Request, patience time.Duration) (wait func()) {
	set := make(chan struct{})
	stop := context.AfterFunc(r.Context(), func() {
		http.NewResponseController(w).SetWriteDeadline(time.Now().Add(patience))
		close(set)
	})
	return func() {
		if !stop() {
			<-set
		}
	}
}

// TestHoldOfABlockedWrite: a handler whose client reads nothing returns once it sets a deadline as the
// doc of the package says.
func TestHoldOfABlockedWrite(t *testing.T) {
	s := serveStreams(t, func(s *streams, w http.ResponseWriter, r *http.Request) {
		defer endWrites(w, r, 0)()
		io.WriteString(w, "begun\n")
		http.NewResponseController(w).Flush()
		var err error
		for err == nil { // until the buffers of the system are full
			_, err = w.Write(make([]byte, 1<<20))
		}
		s.ended <- context.Cause(r.Context())
	})
	pair := s.issue("", lapse.Grant{})
	s.open(pair.Access.Bearer)
	must(s.pairs.ExpireBearer(t.Context(), pair.Access.Bearer))
	s.wantEnded("blocked", lapse.ErrRevoked)
}

// TestHoldOverHTTP2: handlers that set such a deadline return while it is set, many of them at once. net/http
// panics over HTTP/2 if a deadline is set after its handler has returned.
func TestHoldOverHTTP2(t *testing.T) {
	const streams = 64
	w := newWorldOver(t, memory.New(), nil)
	g := must(lapsehttp.New(w.pairs.Access(), lapsehttp.Options{}))
	s := httptest.NewUnstartedServer(g.Hold(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer endWrites(w, r, patience)()
		io.WriteString(w, "begun\n")
		http.NewResponseController(w).Flush()
		<-r.Context().Done()
	})))
	s.EnableHTTP2 = true
	s.StartTLS()
	defer s.Close()
	for range 10 {
		var bodies []io.ReadCloser
		for range streams {
			r := must(http.NewRequest("GET", s.URL, nil))
			r.Header.Set("Authorization", "Bearer "+w.issue("", lapse.Grant{}).Access.Bearer)
			answer := must(s.Client().Do(r))
			if answer.ProtoMajor != 2 {
				t.Fatal(answer.Proto)
			}
			must(io.ReadFull(answer.Body, make([]byte, len("begun\n"))))
			bodies = append(bodies, answer.Body)
		}
		must(w.pairs.Access().ExpireSubject(t.Context(), "ana"))
		for _, body := range bodies {
			if rest, err := io.ReadAll(body); len(rest) > 0 || err != nil {
				t.Errorf("the stream ends with %q, %v", rest, err)
			}
			body.Close()
		}
	}
}
