package main

import (
	"context"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

func TestLogIn(t *testing.T) {
	for name, row := range map[string]struct {
		user   string
		change func(s *scene, i *lapse.Issued) error
		said   string // "" if the token is let in
	}{
		"good":            {"ana", func(*scene, *lapse.Issued) error { return nil }, ""},
		"another user's":  {"bob", func(*scene, *lapse.Issued) error { return nil }, another},
		"no token":        {"ana", func(_ *scene, i *lapse.Issued) error { i.Bearer = "secret"; return nil }, ended},
		"unknown":         {"ana", func(s *scene, i *lapse.Issued) error { i.Bearer = newScene(s.t).issue().Bearer; return nil }, ended},
		"ended":           {"ana", func(s *scene, i *lapse.Issued) error { _, err := s.tokens.Expire(s.t.Context(), i.ID); return err }, ended},
		"about to expire": {"ana", func(s *scene, _ *lapse.Issued) error { s.clock.Add(ttl - time.Millisecond); return nil }, ""},
		"expired":         {"ana", func(s *scene, _ *lapse.Issued) error { s.clock.Add(ttl); return nil }, ended},
		"store closed":    {"ana", func(s *scene, _ *lapse.Issued) error { return s.store.Close() }, later},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(t)
			i := s.issue()
			if err := row.change(s, &i); err != nil {
				t.Fatal(err)
			}
			client, said, err := s.dial(row.user, i.Bearer, s.key.PublicKey())
			if said != row.said || (err == nil) != (row.said == "") {
				t.Fatalf("the server said %q, %v; want %q", said, err, row.said)
			}
			if err != nil {
				return
			}
			if out, text, status := s.output(client, "whoami"); out != "ana, terminal\n" || text != "" || status != 0 {
				t.Errorf("whoami: %q, %q, status %d", out, text, status)
			}
		})
	}
}

func TestSessionDiesWithItsToken(t *testing.T) {
	for name, row := range map[string]struct {
		end    func(s *scene, i lapse.Issued) error
		text   string
		status int
	}{
		"ran out": {func(s *scene, _ lapse.Issued) error { s.clock.Add(ttl); return nil }, ended, statusEnded},
		"ended":   {func(s *scene, i lapse.Issued) error { _, err := s.tokens.Expire(s.t.Context(), i.ID); return err }, ended, statusEnded},
		"all of ana's": {func(s *scene, _ lapse.Issued) error {
			_, err := s.tokens.ExpireSubject(s.t.Context(), "ana")
			return err
		}, ended, statusEnded},
		"suspended":    {func(s *scene, i lapse.Issued) error { _, err := s.tokens.Suspend(s.t.Context(), i.ID); return err }, ended, statusEnded},
		"store closed": {func(s *scene, _ lapse.Issued) error { return s.store.Close() }, later, statusLater},
		"going down":   {func(s *scene, _ lapse.Issued) error { s.stop(); return nil }, later, statusLater},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newScene(t)
			i := s.issue()
			here, there := s.logIn(i), s.logIn(i)
			sessions := []*clockSession{s.startClock(here), s.startClock(here), s.startClock(there)}
			if err := row.end(s, i); err != nil {
				t.Fatal(err)
			}
			for _, c := range sessions {
				if status := s.status(c.Wait()); status != row.status || c.stderr.String() != row.text {
					t.Errorf("the session ended with %q, status %d; want %q, %d", &c.stderr, status, row.text, row.status)
				}
			}
			here.Wait() // the server closes what this client does not
			there.Wait()
		})
	}
}

// TestOtherTokensLiveOn: a session of another token of the same user is not cut.
func TestOtherTokensLiveOn(t *testing.T) {
	s := newScene(t)
	i, other := s.issue(), s.logIn(s.issue())
	c := s.startClock(s.logIn(i))
	if _, err := s.tokens.Expire(t.Context(), i.ID); err != nil {
		t.Fatal(err)
	}
	if status := s.status(c.Wait()); status != statusEnded {
		t.Errorf("status %d", status)
	}
	if out, _, status := s.output(other, "whoami"); out != "ana, terminal\n" || status != 0 {
		t.Errorf("whoami: %q, status %d", out, status)
	}
}

// TestCommandsRenew: each command is a use of the token, and a session that is merely open is none.
func TestCommandsRenew(t *testing.T) {
	s := newScene(t)
	i := s.issue()
	client := s.logIn(i)
	for range 3 {
		s.clock.Add(ttl - time.Second)
		if _, text, status := s.output(client, "whoami"); status != 0 {
			t.Fatalf("%q, status %d", text, status)
		}
	}
	tok, err := s.tokens.Token(t.Context(), i.ID)
	if want := s.clock.Now().Add(ttl); err != nil || !tok.ExpiresAt.Equal(want) {
		t.Errorf("expires at %v, %v; want %v", tok.ExpiresAt, err, want)
	}
}

func TestLogout(t *testing.T) {
	s := newScene(t)
	here, there := s.logIn(s.issue()), s.startClock(s.logIn(s.issue()))
	if _, text, status := s.output(here, "logout"); text != "" || status != 0 {
		t.Errorf("logout: %q, status %d", text, status)
	}
	if status := s.status(there.Wait()); status != statusEnded || there.stderr.String() != ended {
		t.Errorf("the other session ended with %q, status %d", &there.stderr, status)
	}
	here.Wait()
}

func TestOtherRequests(t *testing.T) {
	s := newScene(t)
	client := s.logIn(s.issue())
	for _, command := range []string{"", "sh", "whoami; ls"} {
		if out, text, status := s.output(client, command); out != "" || text != errUsage.Error()+"\n" || status != statusUsage {
			t.Errorf("%q: %q, %q, status %d", command, out, text, status)
		}
	}
	if conn, err := client.Dial("tcp", s.addr); err == nil {
		conn.Close()
		t.Error("the server forwards connections")
	}
}

// TestHostKey: the server keeps its key, and a client that knows another one sends no token.
func TestHostKey(t *testing.T) {
	file := filepath.Join(t.TempDir(), "host_key")
	first, err := hostKey(file)
	if err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(file); err != nil || runtime.GOOS != "windows" && info.Mode().Perm() != 0o600 {
		t.Errorf("the file of the key: %v, %v", info, err)
	}
	again, err := hostKey(file)
	if err != nil || string(again.PublicKey().Marshal()) != string(first.PublicKey().Marshal()) {
		t.Errorf("the second start has another key, %v", err)
	}
	s := newScene(t)
	if _, _, err := s.dial("ana", s.issue().Bearer, first.PublicKey()); err == nil || s.held() != 0 {
		t.Errorf("the server has another key: %v, %d tokens arrived", err, s.held())
	}
	if err := os.WriteFile(file, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := hostKey(file); err == nil || !strings.Contains(err.Error(), "give another -key") {
		t.Errorf("a file that is no key: %v", err)
	}
}

// TestHangingUp ends the hold of the connection.
func TestHangingUp(t *testing.T) {
	s := newScene(t)
	client := s.logIn(s.issue())
	client.Close()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	released := lapse.StatKey{Verb: lapse.VerbRelease, Outcome: "ok"}
	for s.tokens.Stats().Get(released) != 1 {
		select {
		case <-time.After(time.Millisecond):
		case <-ctx.Done():
			t.Fatal("the hold outlives its connection")
		}
	}
}
