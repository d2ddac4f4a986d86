package main

import (
	"bufio"
	"context"
	"io"
	"strings"
	"testing"

	"github.com/seed-55daa01a/lapse"
)

// watching runs `lapse watch` with args in the background. It returns what it prints, and what ends it and
// returns its exit code.
func (w *world) watching(args ...string) (lines *bufio.Scanner, stop func() int) {
	r, out := io.Pipe()
	ctx, cancel := context.WithCancel(w.t.Context())
	a := &app{ctx: ctx, clock: w.clock, stdin: strings.NewReader(""), stdout: out, stderr: io.Discard}
	code := make(chan int, 1)
	go func() {
		code <- a.run(append(w.args[:len(w.args):len(w.args)], append([]string{"watch"}, args...)...))
		out.Close()
	}()
	return bufio.NewScanner(r), func() int {
		cancel()
		r.Close()
		return <-code
	}
}

// TestWatch: each change comes, and an interrupt is no failure.
func TestWatch(t *testing.T) {
	for _, name := range []string{"in use", "memory"} {
		t.Run(name, func(t *testing.T) {
			w := worlds[name](t)
			lines, stop := w.watching("ana")
			if !lines.Scan() || !strings.HasPrefix(lines.Text(), "gap: ") {
				t.Fatalf("%q; want the gap with which a watch begins", lines.Text())
			}
			w.issue(lapse.Grant{Subject: "bob"})
			id := w.issue(lapse.Grant{Subject: "ana", Name: "laptop"}).Token.ID
			if want := id.String() + "  ana  laptop  live"; !lines.Scan() || lines.Text() != want {
				t.Errorf("%q, want %q", lines.Text(), want)
			}
			if _, err := w.users.Expire(t.Context(), id); err != nil {
				t.Fatal(err)
			}
			if want := id.String() + "  ana  laptop  ended: revoked"; !lines.Scan() || lines.Text() != want {
				t.Errorf("%q, want %q", lines.Text(), want)
			}
			if code := stop(); code != 0 {
				t.Errorf("exit %d, want 0", code)
			}
		})
	}
}

// TestWatchEnds: a program that stops ends the watch with an error.
func TestWatchEnds(t *testing.T) {
	w := inMemory(t)
	lines, stop := w.watching("--json")
	if !lines.Scan() || lines.Text() != `{"gap":true}` {
		t.Fatal(lines.Text())
	}
	w.stop()
	for lines.Scan() {
		t.Errorf("%q after the end of the program", lines.Text())
	}
	if code := stop(); code != exitFailed {
		t.Errorf("exit %d, want %d", code, exitFailed)
	}
}

func TestHolds(t *testing.T) {
	for _, name := range []string{"in use", "memory"} {
		t.Run(name, func(t *testing.T) {
			w := worlds[name](t)
			i := w.issue(lapse.Grant{Subject: "ana", Name: "laptop"})
			for range 2 {
				h, err := w.users.Hold(t.Context(), i.Bearer)
				if err != nil {
					t.Fatal(err)
				}
				defer h.Release()
			}
			w.lapse("", "holds").wants(t, 0, "ana      "+i.Token.ID.String()+"  laptop  2 ")
			w.lapse("", "holds", "--json").wants(t, 0, `"connections":2`)
		})
	}
}

// TestNeedsProgram: verbs that a file alone cannot do say what must run.
func TestNeedsProgram(t *testing.T) {
	w := fileAlone(t)
	for _, verb := range []string{"watch", "holds"} {
		w.lapse("", verb).wants(t, exitNoProgram, "admin.Serve")
	}
}
