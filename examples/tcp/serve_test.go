package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// server is a real one, on a clock that the test moves.
type server struct {
	t      *testing.T
	ctx    context.Context
	tokens *lapse.Manager
	store  *memory.Store
	clock  *clock.Mock
	addr   string
	stop   context.CancelFunc
	done   chan error
}

func newServer(t *testing.T) *server {
	t.Helper()
	s := &server{t: t, store: memory.New(), clock: clock.NewMock(), done: make(chan error, 1)}
	s.clock.Set(time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC))
	var err error
	if s.tokens, err = lapse.New(s.store, lapse.Config{Clock: s.clock}); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	s.ctx, s.stop = context.WithCancel(context.Background())
	go func() { s.done <- serve(s.ctx, l, s.tokens) }()
	t.Cleanup(func() {
		s.stop()
		if err := <-s.done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *server) issue() lapse.Issued {
	s.t.Helper()
	i, err := s.tokens.Issue(s.ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		s.t.Fatal(err)
	}
	return i
}

// peer is one connection.
type peer struct {
	t    *testing.T
	conn net.Conn
	in   *bufio.Reader
}

func (s *server) connect(first string) *peer {
	s.t.Helper()
	conn, err := net.Dial("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { conn.Close() })
	p := &peer{s.t, conn, bufio.NewReader(conn)}
	p.say(first)
	return p
}

func (p *peer) say(line string) {
	p.t.Helper()
	if _, err := fmt.Fprintln(p.conn, line); err != nil {
		p.t.Fatal(err)
	}
}

// hears checks that the next line is want.
func (p *peer) hears(want string) {
	p.t.Helper()
	line, err := p.in.ReadString('\n')
	if got := strings.TrimSuffix(line, "\n"); got != want || err != nil {
		p.t.Fatalf("heard %q, %v; want %q", got, err, want)
	}
}

// hearsTheLast checks that want is the last line, and that the end behind it is a proper one.
func (p *peer) hearsTheLast(want string) {
	p.t.Helper()
	p.hears(want)
	if rest, err := io.ReadAll(p.in); len(rest) > 0 || err != nil {
		p.t.Fatalf("after the last line: %q, %v", rest, err)
	}
	p.conn.Close()
}

func TestConnectionLivesAsLongAsItsToken(t *testing.T) {
	for name, row := range map[string]struct {
		end  func(s *server, i lapse.Issued) error
		last string
	}{
		"ran out": {func(s *server, _ lapse.Issued) error { s.clock.Add(30 * time.Minute); return nil }, "sign in again: your token ran out"},
		"ended":   {func(s *server, i lapse.Issued) error { _, err := s.tokens.Expire(s.ctx, i.ID); return err }, "sign in again: your token was ended: revoked"},
		"logged out everywhere": {func(s *server, _ lapse.Issued) error { _, err := s.tokens.ExpireSubject(s.ctx, "ana"); return err },
			"sign in again: your token was ended: subject"},
		"going down": {func(s *server, _ lapse.Issued) error { s.stop(); return nil }, "try again later"},
		"closed":     {func(s *server, _ lapse.Issued) error { return s.store.Close() }, "try again later"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newServer(t)
			i := s.issue()
			first, second := s.connect(i.Bearer), s.connect(i.Bearer)
			first.hears("hello ana")
			second.hears("hello ana")
			first.say("moin")
			first.hears(`you said "moin"`)
			if err := row.end(s, i); err != nil {
				t.Fatal(err)
			}
			first.hearsTheLast("bye: " + row.last)
			second.hearsTheLast("bye: " + row.last)
		})
	}
}

// TestTalkingRenews: what one peer says keeps every connection of its token.
func TestTalkingRenews(t *testing.T) {
	s := newServer(t)
	i := s.issue()
	talks, listens := s.connect(i.Bearer), s.connect(i.Bearer)
	talks.hears("hello ana")
	listens.hears("hello ana")
	for _, until := range []string{"09:50", "10:10", "10:30"} {
		s.clock.Add(20 * time.Minute)
		talks.say("who")
		talks.hears("ana, until 2026-01-05T" + until + ":00Z")
	}
	s.clock.Add(30 * time.Minute)
	talks.hearsTheLast("bye: sign in again: your token ran out")
	listens.hearsTheLast("bye: sign in again: your token ran out")
}

// TestRotating gives the token another text and cuts no connection. The one that has the
// old text is refused once the overlap is over, and the other lives on.
func TestRotating(t *testing.T) {
	s := newServer(t)
	i := s.issue()
	here, there := s.connect(i.Bearer), s.connect(i.Bearer)
	here.hears("hello ana")
	there.hears("hello ana")
	here.say("rotate")
	line, err := here.in.ReadString('\n')
	next, told := strings.CutPrefix(strings.TrimSpace(line), "your token is now ")
	if err != nil || !told || next == i.Bearer {
		t.Fatalf("heard %q, %v", line, err)
	}
	if tok, err := s.tokens.Peek(s.ctx, next); err != nil || tok.ID != i.ID {
		t.Errorf("the new text is of %v, %v; want %v", tok.ID, err, i.ID)
	}
	s.clock.Add(overlap - time.Millisecond)
	for _, p := range []*peer{here, there} {
		p.say("moin")
		p.hears(`you said "moin"`)
	}
	s.clock.Add(time.Millisecond)
	there.say("moin")
	there.hearsTheLast("bye: sign in again: token replaced")
	here.say("moin")
	here.hears(`you said "moin"`)
	s.connect(i.Bearer).hearsTheLast("bye: sign in again: token replaced")
	s.connect(next).hears("hello ana")
}

// TestLogout by one connection ends the others.
func TestLogout(t *testing.T) {
	s := newServer(t)
	here, there := s.connect(s.issue().Bearer), s.connect(s.issue().Bearer)
	here.hears("hello ana")
	there.hears("hello ana")
	here.say("logout\nand more\nthat nobody reads")
	for {
		line, err := here.in.ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		if strings.HasPrefix(line, "bye: ") {
			break
		}
	}
	there.hearsTheLast("bye: sign in again: your token was ended: subject")
}

func TestRefusals(t *testing.T) {
	s := newServer(t)
	ended := s.issue()
	if _, err := s.tokens.Expire(s.ctx, ended.ID); err != nil {
		t.Fatal(err)
	}
	elsewhere := newServer(t).issue()
	for first, want := range map[string]string{
		"":                                 "bye: sign in again: malformed token",
		"hello":                            "bye: sign in again: malformed token",
		"hello\nis anybody\nthere?":        "bye: sign in again: malformed token",
		ended.Bearer:                       "bye: sign in again: your token was ended: revoked",
		elsewhere.Bearer:                   "bye: sign in again: unknown token",
		strings.Repeat("x", longestLine/2): "bye: sign in again: malformed token",
	} {
		s.connect(first).hearsTheLast(want)
	}
	long := s.connect(strings.Repeat("x", 2*longestLine))
	if line, err := long.in.ReadString('\n'); err == nil {
		t.Errorf("a line that is too long is answered by %q", line)
	}
}

// TestHangingUp releases the token: nobody is told of anything then.
func TestHangingUp(t *testing.T) {
	s := newServer(t)
	i := s.issue()
	p := s.connect(i.Bearer)
	p.hears("hello ana")
	p.conn.Close()
	s.stop() // waits for all connections
	if err := <-s.done; err != nil && !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	s.done <- nil
}
