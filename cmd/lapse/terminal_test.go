//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/creack/pty"
	"github.com/hinshun/vt10x"

	"github.com/seed-55daa01a/lapse"
)

// screen is a shell in a terminal of 100 columns and 30 lines.
type screen struct {
	t   *testing.T
	tty *os.File
	mu  sync.Mutex
	vt  vt10x.Terminal
	raw bytes.Buffer // all that was sent to the terminal
}

// newScreen starts a shell with env.
func newScreen(t *testing.T, env ...string) *screen {
	t.Helper()
	shell := exec.Command("sh")
	shell.Env = append(os.Environ(), append([]string{"PS1=$ ", "TERM=xterm", "ENV="}, env...)...)
	tty, err := pty.StartWithSize(shell, &pty.Winsize{Rows: 30, Cols: 100})
	if err != nil {
		t.Fatal(err)
	}
	s := &screen{t: t, tty: tty, vt: vt10x.New(vt10x.WithSize(100, 30))}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		for b := make([]byte, 4096); ; {
			n, err := tty.Read(b)
			s.mu.Lock()
			s.raw.Write(b[:n])
			s.vt.Write(b[:n])
			s.mu.Unlock()
			if err != nil {
				return
			}
		}
	}()
	t.Cleanup(func() {
		shell.Process.Kill()
		tty.Close()
		<-ended
		shell.Wait()
	})
	s.waits("$ ", 1)
	return s
}

// types types text, and waits until the terminal has been sent answer after that.
func (s *screen) types(text, answer string) {
	s.t.Helper()
	before := strings.Count(s.sent(), answer)
	if _, err := s.tty.WriteString(text); err != nil {
		s.t.Fatal(err)
	}
	s.waits(answer, before+1)
}

// waits waits until the terminal has been sent text n times.
func (s *screen) waits(text string, n int) {
	s.t.Helper()
	for deadline := time.After(30 * time.Second); strings.Count(s.sent(), text) < n; {
		select {
		case <-deadline:
			s.t.Fatalf("%q was not sent:\n%q", text, s.sent())
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// shows returns what stands on the screen.
func (s *screen) shows() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var lines []string
	for line := range strings.SplitSeq(strings.TrimRight(s.vt.String(), " \n"), "\n") {
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return strings.Join(lines, "\n")
}

// sent returns all that was sent to the terminal.
func (s *screen) sent() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.raw.String()
}

// TestTerminal is a session of a person, as the screen shows it.
func TestTerminal(t *testing.T) {
	w := fileInUse(t)
	laptop := w.issue(lapse.Grant{Subject: "ana", Name: "laptop"})
	phone := w.issue(lapse.Grant{Subject: "ana", Name: "Anas 電話"})
	if _, err := w.users.Expire(t.Context(), phone.ID); err != nil {
		t.Fatal(err)
	}
	s := newScreen(t, "PATH="+filepath.Dir(built(t))+":"+os.Getenv("PATH"), "LAPSE_FILE="+w.file)
	s.types("lapse ls ana --all --name laptop\n", "$ ")
	s.types("lapse ls --all --name 'Anas 電話'\n", "$ ")
	s.types("lapse verify\n", "(not shown): ")
	s.types(laptop.Bearer+"\n", "$ ")
	s.types("clear; lapse logout ana\n", "[y/N] ")
	s.types("n\n", "$ ")
	s.types("lapse logout ana\n", "[y/N] ")
	s.types("y\n", "$ ")
	s.types("lapse backup "+filepath.Join(t.TempDir(), "b")+"\n", "$ ")
	got := s.shows()
	want := `ana has 1 live token. End all? [y/N] n
lapse: cancelled; nothing was changed
$ lapse logout ana
ana has 1 live token. End all? [y/N] y
1 token ended
$ lapse backup`
	if !strings.HasPrefix(got, want) || !strings.Contains(got, "\n2 tokens in ") || strings.Contains(got, "copying") || strings.Contains(got, "reading") {
		t.Errorf("the screen:\n%s\nwant it to begin with:\n%s\nand no progress left", got, want)
	}
	sent := s.sent()
	for name, row := range map[string]struct {
		text  string
		there bool
	}{
		"the live row is not faint": {"\r\n" + laptop.ID.String() + "  laptop  -      -          in 1 h   live\r\n", true},
		"the dead row is faint":     {"\x1b[2mana      " + phone.ID.String() + "  Anas 電話  -      -          in 1 h   ended: revoked", true},
		"progress was drawn":        {"copying: ", true},
		"the secret":                {laptop.Bearer, false},
	} {
		if strings.Contains(sent, row.text) != row.there {
			t.Errorf("%s: %q in what was sent is %v:\n%q", name, row.text, !row.there, sent)
		}
	}
}

// TestNoColour: nothing is coloured under NO_COLOR, nor on a dumb terminal.
func TestNoColour(t *testing.T) {
	w := fileInUse(t)
	if _, err := w.users.Expire(t.Context(), w.issue(lapse.Grant{Subject: "ana"}).ID); err != nil {
		t.Fatal(err)
	}
	for _, variable := range []string{"NO_COLOR=1", "TERM=dumb"} {
		s := newScreen(t, "PATH="+filepath.Dir(built(t))+":"+os.Getenv("PATH"), "LAPSE_FILE="+w.file, variable)
		s.types("lapse ls --all\n", "$ ")
		if strings.Contains(s.sent(), "\x1b[2m") || !strings.Contains(s.sent(), "ended: revoked") {
			t.Errorf("%s: %q", variable, s.sent())
		}
	}
}
