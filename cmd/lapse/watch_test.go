package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"iter"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// watching runs `lapse watch` with args in the background. It returns what it prints, and what ends it and
// returns its exit code.
func (w *world) watching(args ...string) (lines *bufio.Scanner, stop func() int) {
	_, said := io.Pipe()
	said.Close()
	return w.watchingTo(said, args...)
}

// watchingTo is watching, and writes to said what the command says of errors. It closes said at the end.
func (w *world) watchingTo(said io.WriteCloser, args ...string) (lines *bufio.Scanner, stop func() int) {
	r, out := io.Pipe()
	ctx, cancel := context.WithCancel(w.t.Context())
	a := &app{ctx: ctx, clock: w.clock, stdin: strings.NewReader(""), stdout: out, stderr: said}
	code := make(chan int, 1)
	go func() {
		code <- a.run(append(w.args[:len(w.args):len(w.args)], append([]string{"watch"}, args...)...))
		out.Close()
		said.Close()
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

// TestWatchAgain: a watch of a database goes on after the server was away, with a gap first, and an interrupt
// while the server is away is no failure.
func TestWatchAgain(t *testing.T) {
	w := inDatabase(t)
	id := w.issue(lapse.Grant{Subject: "ana", Name: "laptop"}).Token.ID
	t.Cleanup(func() { server.Launch(context.Background()) })
	r, said := io.Pipe()
	lines, stop := w.watchingTo(said)
	told := make(chan string)
	go func() {
		defer close(told)
		for errors := bufio.NewScanner(r); errors.Scan(); {
			select {
			case told <- errors.Text():
			default: // the test does not wait for one
			}
		}
	}()
	wants := func(want string) {
		t.Helper()
		for lines.Scan() {
			if strings.HasPrefix(lines.Text(), want) {
				return
			}
			if !strings.HasPrefix(lines.Text(), "gap: ") { // which may come at any time
				break
			}
		}
		t.Fatalf("%q, want %q", lines.Text(), want)
	}
	away := func() {
		t.Helper()
		if err := server.Stop("immediate"); err != nil {
			t.Fatal(err)
		}
		if text := <-told; !strings.HasPrefix(text, "lapse: ") || !strings.HasSuffix(text, "; watching again") {
			t.Fatalf("it said %q", text)
		}
	}
	wants("gap: ")
	away()
	if err := server.Launch(t.Context()); err != nil {
		t.Fatal(err)
	}
	wants("gap: ")
	w.lapse("", "revoke", id.String()).wants(t, 0)
	wants(id.String() + "  ana  laptop  ended: revoked")
	away()
	if code := stop(); code != 0 {
		t.Errorf("exit %d, want 0", code)
	}
}

// deaf is a store that hears of no change.
type deaf struct {
	storage.Store
	asked int
}

func (d *deaf) Watch(context.Context) iter.Seq2[storage.Change, error] {
	return func(yield func(storage.Change, error) bool) {
		d.asked++
		yield(storage.Change{}, storage.ErrUnavailable)
	}
}

// TestWatchWaits: a store that hears of nothing is asked once a second, and an interrupt ends the wait at once.
func TestWatchWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &deaf{Store: memory.New()}
		tokens, err := newAlone(store, "", nil)
		if err != nil {
			t.Fatal(err)
		}
		defer tokens.Close()
		begin := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 9500*time.Millisecond)
		defer cancel()
		a := &app{ctx: ctx, stdout: io.Discard, stderr: io.Discard}
		if err := a.watchOn(ctx, tokens, lapse.Query{}); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(begin); took != 9500*time.Millisecond || store.asked != 10 {
			t.Errorf("asked %d times in %v, want 10 times in 9.5 s", store.asked, took)
		}
	})
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
