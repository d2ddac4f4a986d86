package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/benbjohnson/clock"
	"golang.org/x/crypto/ssh"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

const ttl = time.Minute

// scene is a real server, on a clock that the test moves.
type scene struct {
	t      *testing.T
	tokens *lapse.Manager
	store  *memory.Store
	clock  *clock.Mock
	key    ssh.Signer
	addr   string
	stop   context.CancelFunc
}

func newScene(t *testing.T) *scene {
	t.Helper()
	s := &scene{t: t, store: memory.New(), clock: clock.NewMock()}
	s.clock.Set(time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC))
	var err error
	if s.tokens, err = lapse.New(s.store, lapse.Config{Clock: s.clock, Policy: lapse.Policy{TTL: ttl}}); err != nil {
		t.Fatal(err)
	}
	if s.key, err = hostKey(filepath.Join(t.TempDir(), "host_key")); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.addr = l.Addr().String()
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	done := make(chan error, 1)
	go func() { done <- serve(ctx, l, &server{tokens: s.tokens, key: s.key, after: s.clock.After}) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return s
}

func (s *scene) issue() lapse.Issued {
	s.t.Helper()
	i, err := s.tokens.Issue(s.t.Context(), lapse.Grant{Subject: "ana", Name: "terminal"})
	if err != nil {
		s.t.Fatal(err)
	}
	return i
}

// held returns how many tokens have let a connection in.
func (s *scene) held() uint64 {
	return s.tokens.Stats().Get(lapse.StatKey{Verb: lapse.VerbHold, Outcome: "ok"})
}

// dial logs in. It returns what the server said meanwhile.
func (s *scene) dial(user, password string, key ssh.PublicKey) (client *ssh.Client, said string, err error) {
	client, err = ssh.Dial("tcp", s.addr, &ssh.ClientConfig{
		User:            user,
		Auth:            []ssh.AuthMethod{ssh.Password(password)},
		HostKeyCallback: ssh.FixedHostKey(key),
		BannerCallback:  func(text string) error { said += text; return nil },
		Timeout:         time.Minute,
	})
	if err == nil {
		s.t.Cleanup(func() { client.Close() })
	}
	return client, said, err
}

// logIn is dial of a token that is good.
func (s *scene) logIn(i lapse.Issued) *ssh.Client {
	s.t.Helper()
	client, said, err := s.dial(i.Subject, i.Bearer, s.key.PublicKey())
	if err != nil || said != "" {
		s.t.Fatalf("the server said %q, %v", said, err)
	}
	return client
}

// output runs one command, and returns all that came of it.
func (s *scene) output(client *ssh.Client, command string) (out, text string, status int) {
	s.t.Helper()
	session, err := client.NewSession()
	if err != nil {
		s.t.Fatal(err)
	}
	var stdout, stderr bytes.Buffer
	session.Stdout, session.Stderr = &stdout, &stderr
	status = s.status(session.Run(command))
	return stdout.String(), stderr.String(), status
}

func (s *scene) status(err error) int {
	s.t.Helper()
	var exit *ssh.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.t.Fatal(err)
	}
	if err != nil {
		return exit.ExitStatus()
	}
	return 0
}

// clockSession is a session that runs the command clock.
type clockSession struct {
	*ssh.Session
	stderr bytes.Buffer
}

// startClock returns once the clock has shown the time.
func (s *scene) startClock(client *ssh.Client) *clockSession {
	s.t.Helper()
	session, err := client.NewSession()
	if err != nil {
		s.t.Fatal(err)
	}
	c := &clockSession{Session: session}
	session.Stderr = &c.stderr
	out, err := session.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := session.Start("clock"); err != nil {
		s.t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "09:00:00\n" || err != nil {
		s.t.Fatalf("the clock shows %q, %v", line, err)
	}
	return c
}
