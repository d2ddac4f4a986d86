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
	"net/http/httptrace"
	"strings"
	"sync/atomic"
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

// ask sends a request by text, with body where that is not nil.
func (s *streams) ask(text string, body io.Reader) *http.Response {
	s.t.Helper()
	r := must(http.NewRequestWithContext(s.t.Context(), "POST", s.URL, body))
	r.Header.Set("Authorization", "Bearer "+text)
	answer := must(s.Client().Do(r))
	s.t.Cleanup(func() { answer.Body.Close() })
	return answer
}

// open opens a stream by text, with body where that is not nil, and reads its first line.
func (s *streams) open(text string, body io.Reader) *bufio.Reader {
	s.t.Helper()
	lines := bufio.NewReader(s.ask(text, body).Body)
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
		lines := s.open(pair.Access.Bearer, nil)
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
		s.open(s.issue("", lapse.Grant{}).Access.Bearer, nil)
	}
	other := s.issue("", lapse.Grant{Subject: "ben"})
	s.open(other.Access.Bearer, nil)
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
	s.open(pair.Access.Bearer, nil)
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

// protocols are those over which the tests of Stream run.
var protocols = []string{"HTTP/1.1", "HTTP/2.0"}

// serveStream serves handler behind Stream, over protocol. change changes the server before it starts.
func serveStream(t *testing.T, protocol string, handler func(s *streams, w http.ResponseWriter, r *http.Request), change func(*lapsehttp.Guard, *httptest.Server)) *streams {
	s := &streams{world: newWorldOver(t, memory.New(), nil), ended: make(chan error, 64)}
	g := must(lapsehttp.New(s.pairs.Access(), lapsehttp.Options{}))
	s.Server = httptest.NewUnstartedServer(g.Stream(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Proto != protocol {
			panic(r.Proto)
		}
		handler(s, w, r)
	})))
	s.EnableHTTP2 = protocol == "HTTP/2.0"
	if change != nil {
		change(g, s.Server)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	t.Cleanup(s.CloseClientConnections) // or Close would wait for a handler that a failed test has left
	return s
}

// patient gives handlers more than a second to end, which a slow machine may need.
func patient(g *lapsehttp.Guard, _ *httptest.Server) { g.SetGrace(patience) }

// begin writes the first line of a stream.
func begin(w http.ResponseWriter) {
	io.WriteString(w, "begun\n")
	http.NewResponseController(w).Flush()
}

// block writes to a client that reads nothing until that fails.
func block(w http.ResponseWriter) (err error) {
	for err == nil { // until the buffers of the system, or the window of HTTP/2, are full
		_, err = w.Write(make([]byte, 1<<20))
	}
	return err
}

// TestStream: a handler that does not look at its context returns all the same after its token has ended,
// whatever it does with its client.
func TestStream(t *testing.T) {
	for name, row := range map[string]struct {
		handle func(w http.ResponseWriter, r *http.Request) error
		client func(body io.Reader) // what the client does with the answer
	}{
		"writes to a client that reads nothing": {
			func(w http.ResponseWriter, _ *http.Request) error { return block(w) }, nil,
		},
		"writes to a client that reads": {
			func(w http.ResponseWriter, _ *http.Request) (err error) {
				for err == nil {
					io.WriteString(w, "more\n")
					err = http.NewResponseController(w).Flush()
				}
				return err
			}, func(body io.Reader) { io.Copy(io.Discard, body) },
		},
		"reads from a client that writes nothing": {
			func(w http.ResponseWriter, r *http.Request) error {
				_, err := r.Body.Read(make([]byte, 1))
				return err
			}, nil,
		},
	} {
		for _, protocol := range protocols {
			t.Run(name+" over "+protocol, func(t *testing.T) {
				t.Parallel()
				s := serveStream(t, protocol, func(s *streams, w http.ResponseWriter, r *http.Request) {
					http.NewResponseController(w).EnableFullDuplex()
					begin(w)
					if err := row.handle(w, r); err == nil {
						t.Error("no error")
					}
					s.ended <- context.Cause(r.Context())
				}, nil)
				pair := s.issue("", lapse.Grant{})
				body, quiet := io.Pipe()
				defer quiet.Close()
				lines := s.open(pair.Access.Bearer, body)
				if row.client != nil {
					go row.client(lines)
				}
				must(s.pairs.ExpireBearer(t.Context(), pair.Access.Bearer))
				s.wantEnded(name, lapse.ErrRevoked)
			})
		}
	}
}

// TestStreamSaysGoodbye: a handler that returns when its context ends has time for a last line, and the
// stream ends as any other answer.
func TestStreamSaysGoodbye(t *testing.T) {
	for _, protocol := range protocols {
		s := serveStream(t, protocol, func(s *streams, w http.ResponseWriter, r *http.Request) {
			begin(w)
			<-r.Context().Done()
			io.WriteString(w, lapse.Code(context.Cause(r.Context())))
		}, patient)
		pair := s.issue("", lapse.Grant{})
		lines := s.open(pair.Access.Bearer, nil)
		must(s.pairs.ExpireBearer(t.Context(), pair.Access.Bearer))
		if rest, err := io.ReadAll(lines); string(rest) != "revoked" || err != nil {
			t.Errorf("%s: the stream ends with %q, %v", protocol, rest, err)
		}
	}
}

// TestStreamsAtOnce: many handlers return, or panic, while their deadlines are set, and tokens end whose
// handlers have returned. net/http panics over HTTP/2, where nothing recovers, if a deadline is set after its
// handler has returned.
func TestStreamsAtOnce(t *testing.T) {
	const many = 64
	for protocol, rounds := range map[string]int{"HTTP/1.1": 1, "HTTP/2.0": 10} {
		s := serveStream(t, protocol, func(s *streams, w http.ResponseWriter, r *http.Request) {
			tok, _ := lapsehttp.TokenFrom(r.Context())
			begin(w)
			if tok.Name == "returned" {
				return
			}
			<-r.Context().Done()
			if tok.Name == "panics" {
				panic(http.ErrAbortHandler)
			}
		}, patient)
		for range rounds {
			bodies := make(map[io.Reader]bool) // and whether the handler panics
			for n := range many {
				name := []string{"", "panics", "returned"}[n%3]
				bodies[s.open(s.issue("", lapse.Grant{Name: name}).Access.Bearer, nil)] = name == "panics"
			}
			must(s.pairs.Access().ExpireSubject(t.Context(), "ana"))
			for body, panics := range bodies {
				if rest, err := io.ReadAll(body); len(rest) > 0 || (err != nil) != panics {
					t.Errorf("%s: the stream ends with %q, %v", protocol, rest, err)
				}
			}
		}
	}
}

// TestStreamOfAServerWithWriteTimeout: a WriteTimeout that is still to come does not keep a Write whose token
// has ended.
func TestStreamOfAServerWithWriteTimeout(t *testing.T) {
	for _, protocol := range protocols {
		t.Run(protocol, func(t *testing.T) {
			t.Parallel()
			s := serveStream(t, protocol, func(s *streams, w http.ResponseWriter, r *http.Request) {
				begin(w)
				block(w)
				s.ended <- context.Cause(r.Context())
			}, func(_ *lapsehttp.Guard, s *httptest.Server) { s.Config.WriteTimeout = time.Hour })
			pair := s.issue("", lapse.Grant{})
			s.open(pair.Access.Bearer, nil)
			must(s.pairs.ExpireBearer(t.Context(), pair.Access.Bearer))
			s.wantEnded("blocked", lapse.ErrRevoked)
		})
	}
}

// flusher is an http.ResponseWriter of a middleware that hides everything but Flush.
type flusher struct{ http.ResponseWriter }

func (f flusher) Flush() { http.NewResponseController(f.ResponseWriter).Flush() }

// unwrapper is an http.ResponseWriter of a middleware as net/http wants it to be.
type unwrapper struct{ http.ResponseWriter }

func (u unwrapper) Unwrap() http.ResponseWriter { return u.ResponseWriter }

// TestStreamBehindAMiddleware: Stream finds the deadlines behind a ResponseWriter that has Unwrap. Without
// them the context still ends.
func TestStreamBehindAMiddleware(t *testing.T) {
	for name, wrap := range map[string]func(http.ResponseWriter) http.ResponseWriter{
		"with Unwrap":    func(w http.ResponseWriter) http.ResponseWriter { return unwrapper{w} },
		"without Unwrap": func(w http.ResponseWriter) http.ResponseWriter { return flusher{w} },
	} {
		for _, protocol := range protocols {
			t.Run(name+" over "+protocol, func(t *testing.T) {
				t.Parallel()
				s := serveStream(t, protocol, func(s *streams, w http.ResponseWriter, r *http.Request) {
					begin(w)
					if _, hidden := w.(flusher); hidden {
						<-r.Context().Done()
					} else {
						block(w)
					}
					s.ended <- context.Cause(r.Context())
				}, func(_ *lapsehttp.Guard, s *httptest.Server) {
					guarded := s.Config.Handler
					s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { guarded.ServeHTTP(wrap(w), r) })
				})
				pair := s.issue("", lapse.Grant{})
				s.open(pair.Access.Bearer, nil)
				must(s.pairs.ExpireBearer(t.Context(), pair.Access.Bearer))
				s.wantEnded(name, lapse.ErrRevoked)
			})
		}
	}
}

// deadlines is a listener that knows the write deadline of the connection that it accepted last.
type deadlines struct {
	net.Listener
	last atomic.Pointer[time.Time]
}

func (d *deadlines) Accept() (net.Conn, error) {
	conn, err := d.Listener.Accept()
	return &watched{conn, d}, err
}

// watched is a connection of deadlines.
type watched struct {
	net.Conn
	d *deadlines
}

func (w *watched) SetWriteDeadline(t time.Time) error {
	w.d.last.Store(&t)
	return w.Conn.SetWriteDeadline(t)
}

// TestStreamLeavesTheConnection: after a stream has ended with its token, the next request of the connection
// has no deadline of the stream.
func TestStreamLeavesTheConnection(t *testing.T) {
	var d deadlines
	s := serveStream(t, "HTTP/1.1", func(s *streams, w http.ResponseWriter, r *http.Request) {
		begin(w)
		<-r.Context().Done()
	}, func(_ *lapsehttp.Guard, s *httptest.Server) {
		d.Listener, s.Listener = s.Listener, &d
		guarded := s.Config.Handler
		s.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Authorization") != "Bearer none" {
				guarded.ServeHTTP(w, r)
			} else if at := d.last.Load(); at != nil && at.IsZero() {
				io.WriteString(w, "none")
			}
		})
	})
	pair := s.issue("", lapse.Grant{})
	lines := s.open(pair.Access.Bearer, nil)
	must(s.pairs.ExpireBearer(t.Context(), pair.Access.Bearer))
	must(io.ReadAll(lines))
	var reused bool
	trace := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(c httptrace.GotConnInfo) { reused = c.Reused }})
	r := must(http.NewRequestWithContext(trace, "GET", s.URL, nil))
	r.Header.Set("Authorization", "Bearer none")
	answer := must(s.Client().Do(r))
	defer answer.Body.Close()
	if body := must(io.ReadAll(answer.Body)); !reused || string(body) != "none" {
		t.Errorf("reused: %t; deadline: %q", reused, body)
	}
}
