//go:build unix

package main

import (
	"bytes"
	"context"
	"os"
	"strings"
	"testing"

	"github.com/creack/pty"
	"golang.org/x/term"

	"github.com/seed-55daa01a/lapse"
)

// terminal is a pseudo-terminal, and the person at it.
type terminal struct {
	t      *testing.T
	stdin  *os.File
	person *os.File
	screen chan string // what was printed in the end
}

// newTerminal returns a terminal whose person types text once prompt stands on the screen.
func newTerminal(t *testing.T, prompt string, typed func(person *os.File)) *terminal {
	t.Helper()
	person, tty, err := pty.Open()
	if err != nil {
		t.Fatal(err)
	}
	term := &terminal{t: t, stdin: tty, person: person, screen: make(chan string, 1)}
	t.Cleanup(func() { tty.Close(); person.Close() })
	go term.sit(prompt, typed)
	return term
}

// sit reads the screen until the command has ended.
func (x *terminal) sit(prompt string, typed func(*os.File)) {
	var seen bytes.Buffer
	asked := false
	for b := make([]byte, 4096); ; {
		n, err := x.person.Read(b)
		seen.Write(b[:n])
		if !asked && strings.Contains(seen.String(), prompt) {
			asked = true
			typed(x.person)
		}
		if err != nil || bytes.HasSuffix(seen.Bytes(), []byte{0}) {
			x.screen <- strings.TrimSuffix(seen.String(), "\x00")
			return
		}
	}
}

// run runs the command for the person, and returns what the screen shows besides stdout.
func (x *terminal) run(ctx context.Context, w *world, args ...string) (a answer, screen string) {
	x.t.Helper()
	defer w.lend()()
	before, err := term.GetState(int(x.stdin.Fd()))
	if err != nil {
		x.t.Fatal(err)
	}
	var out bytes.Buffer
	command := &app{ctx: ctx, clock: w.clock, stdin: x.stdin, stdout: &out, stderr: x.stdin}
	a.code = command.run(append(w.args[:len(w.args):len(w.args)], args...))
	a.stdout = out.String()
	if after, err := term.GetState(int(x.stdin.Fd())); err != nil || *after != *before {
		x.t.Errorf("the terminal is left in another state; %v", err)
	}
	x.stdin.Write([]byte{0})
	return a, <-x.screen
}

// types returns a person who types text.
func types(text string) func(*os.File) {
	return func(person *os.File) { person.WriteString(text) }
}

func TestConfirm(t *testing.T) {
	everywhere(t, func(t *testing.T, w *world) {
		for name, row := range map[string]struct {
			typed string
			code  int
		}{
			"y":              {"y\n", 0},
			"Yes":            {" Yes \n", 0},
			"no":             {"n\n", exitUsage},
			"nothing":        {"\n", exitUsage},
			"another word":   {"yes please\n", exitUsage},
			"end":            {"\x04", exitUsage},
			"yes and no end": {"yes\x04\x04", exitUsage}, // without a line feed
		} {
			id := w.issue(lapse.Grant{Subject: "ana"}).Token.ID
			got, screen := newTerminal(t, "ana has 1 live token. End all? [y/N] ", types(row.typed)).run(t.Context(), w, "logout", "ana")
			if ended := w.token(id).EndReason != 0; got.code != row.code || ended != (row.code == 0) || got.stdout != "" {
				t.Errorf("%s: exit %d, ended %v, screen %q", name, got.code, ended, screen)
			}
			if row.code != 0 && !strings.HasSuffix(screen, "\r\nlapse: cancelled; nothing was changed\r\n") {
				t.Errorf("%s: screen %q", name, screen)
			}
			w.lapse("", "logout", "ana", "--yes").wants(t, 0)
		}
	})
}

// TestConfirmNeedNotAsk: there is no question with --yes, and none about no token.
func TestConfirmNeedNotAsk(t *testing.T) {
	w := fileAlone(t)
	w.issue(lapse.Grant{Subject: "ana"})
	for _, args := range [][]string{{"logout", "bob"}, {"logout", "ana", "--yes"}, {"logout", "ana", "--keep", w.issue(lapse.Grant{Subject: "ana"}).Token.ID.String(), "-y"}} {
		got, screen := newTerminal(t, "[y/N]", types("n\n")).run(t.Context(), w, args...)
		if got.code != 0 || strings.Contains(screen, "[y/N]") {
			t.Errorf("%v: exit %d, screen %q", args, got.code, screen)
		}
	}
}

// TestConfirmIsInterrupted: a signal ends the command while it waits for an answer.
func TestConfirmIsInterrupted(t *testing.T) {
	w := inMemory(t)
	id := w.issue(lapse.Grant{Subject: "ana"}).Token.ID
	for _, args := range [][]string{{"logout", "ana"}, {"verify"}} {
		ctx, cancel := context.WithCancel(t.Context())
		prompts := map[string]string{"logout": "[y/N]", "verify": "(not shown)"}
		got, screen := newTerminal(t, prompts[args[0]], func(*os.File) { cancel() }).run(ctx, w, args...)
		if got.code != exitUsage || !strings.HasSuffix(screen, "\r\nlapse: cancelled; nothing was changed\r\n") {
			t.Errorf("%v: exit %d, screen %q", args, got.code, screen)
		}
	}
	if w.token(id).EndReason != 0 {
		t.Error("the token was ended")
	}
}

// TestConfirmShowsNoForgery: the subject of a record cannot move the cursor.
func TestConfirmShowsNoForgery(t *testing.T) {
	var screen bytes.Buffer
	command := &app{ctx: t.Context(), stdin: strings.NewReader(""), stderr: &screen}
	if err := (asked{}).confirm(command, "x"); exitCode(err) != exitUsage || screen.Len() != 0 {
		t.Errorf("off a terminal: %v, %q", err, screen.String())
	}
	x := newTerminal(t, "?", types("n\n"))
	command.stdin, command.stderr = x.stdin, x.stdin
	err := asked{}.confirm(command, "a\x1b[2Kb\nc?")
	x.stdin.Write([]byte{0})
	if got := <-x.screen; exitCode(err) != exitUsage || !strings.HasPrefix(got, "a\ufffd[2Kb\ufffdc? [y/N] ") {
		t.Errorf("%v, screen %q", err, got)
	}
}

// TestVerifyOnTerminal: the text that is typed does not stand on the screen.
func TestVerifyOnTerminal(t *testing.T) {
	w := fileInUse(t)
	bearer := w.issue(lapse.Grant{Subject: "ana"}).Bearer
	for name, row := range map[string]struct {
		typed string
		code  int
	}{
		"good":   {bearer + "\r", 0},
		"no":     {mistyped(bearer) + "\r", exitNoGood},
		"empty":  {"\r", exitUsage},
		"end":    {"\x04", exitUsage},
		"Ctrl-C": {bearer + "\x03", exitUsage},
	} {
		got, screen := newTerminal(t, "(not shown): ", types(row.typed)).run(t.Context(), w, "verify")
		if got.code != row.code || strings.Contains(screen, bearer[20:60]) || strings.Contains(got.stdout, "ana") != (row.code == 0) {
			t.Errorf("%s: exit %d, printed %q, screen %q", name, got.code, got.stdout, screen)
		}
	}
}
