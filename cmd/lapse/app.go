package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
	"golang.org/x/term"
)

// app is one run of the command: its streams and what the flags say.
type app struct {
	ctx            context.Context
	place          place
	json           bool
	stdin          io.Reader
	stdout, stderr io.Writer
	clock          lapse.Clock // of a store that no program has open; nil: the system's
}

// with opens the tokens for a verb that needs n, runs verb, and closes them.
func (a *app) with(n need, verb func(context.Context, tokens) error) (err error) {
	if n == toWrite {
		signal.Ignore(syscall.SIGPIPE) // a reader that is gone would end the verb before all is written
	}
	t, err := a.place.open(a.ctx, n)
	if err != nil {
		return err
	}
	defer func() {
		if closed := t.Close(); err == nil {
			err = closed
		}
	}()
	return verb(a.ctx, t)
}

// asking is with for a verb that needs the program.
func (a *app) asking(verb func(context.Context, *admin.Client) error) error {
	return a.with(toProgram, func(ctx context.Context, t tokens) error { return verb(ctx, t.(*admin.Client)) })
}

// onTerminal reports whether stream is a terminal.
func onTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

// coloured reports whether what is printed may have colours: see no-color.org.
func (a *app) coloured() bool {
	return onTerminal(a.stdout) && os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
}

// say tells the person at the terminal something. Programs read stdout alone.
func (a *app) say(format string, args ...any) { fmt.Fprintf(a.stderr, format+"\n", args...) }

// print writes v as one line of JSON.
func (a *app) print(v any) error {
	e := json.NewEncoder(a.stdout)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
