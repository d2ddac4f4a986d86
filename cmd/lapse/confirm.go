package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"
)

// cancelled is the error of a question that was not answered with yes.
type cancelled struct{}

func (cancelled) Error() string { return "cancelled; nothing was changed" }
func (cancelled) Unwrap() error { return context.Canceled }

// asked has the flag of every verb that asks before it writes.
type asked struct {
	Yes bool `short:"y" help:"Do not ask. Needed where standard input or standard error is no terminal."`
}

// possible returns a usageError if there is a question to ask and no terminal to ask it on.
func (c asked) possible(a *app) error {
	if !c.Yes && !(onTerminal(a.stdin) && onTerminal(a.stderr)) {
		return usage("there is no terminal to ask on; --yes does it without a question")
	}
	return nil
}

// confirm asks question, unless Yes is set. The error is cancelled unless the answer is yes, and after an
// interrupt.
func (c asked) confirm(a *app, question string) error {
	switch {
	case a.ctx.Err() != nil:
		return cancelled{}
	case c.Yes:
		return nil
	}
	if err := c.possible(a); err != nil {
		return err
	}
	fmt.Fprintf(a.stderr, "%s [y/N] ", cell(question))
	answer, err := await(a.ctx, func() (string, error) { return bufio.NewReader(a.stdin).ReadString('\n') })
	if err != nil {
		a.say("") // no line feed was typed
	}
	switch {
	case err != nil && !errors.Is(err, io.EOF) && a.ctx.Err() == nil:
		return err
	case err == nil && strings.EqualFold(strings.TrimSpace(answer), "y"), err == nil && strings.EqualFold(strings.TrimSpace(answer), "yes"):
		return nil
	}
	return cancelled{}
}

// askSecret asks for a text that the terminal does not show.
func (a *app) askSecret(question string) (string, error) {
	in := a.stdin.(*os.File)
	before, err := term.MakeRaw(int(in.Fd())) // and so nothing is shown that is typed before the question stands there
	if err != nil {
		return "", err
	}
	defer term.Restore(int(in.Fd()), before)
	screen := term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{in, a.stderr}, "")
	text, err := await(a.ctx, func() (string, error) { return screen.ReadPassword(question) })
	if err != nil {
		fmt.Fprint(a.stderr, "\r\n")
	}
	if errors.Is(err, io.EOF) || a.ctx.Err() != nil { // Ctrl-C and Ctrl-D are io.EOF
		return "", cancelled{}
	}
	return text, err
}

// openFile opens the file at path to read it. A pipe is opened once another process writes to it.
func openFile(ctx context.Context, path string) (*os.File, error) {
	return await(ctx, func() (*os.File, error) { return os.Open(path) })
}

// await returns what read returns, or the error of ctx if that ends first. Then read goes on in vain, since
// nothing interrupts the read of a terminal or of a pipe.
func await[T any](ctx context.Context, read func() (T, error)) (T, error) {
	type result struct {
		value T
		err   error
	}
	done := make(chan result, 1)
	go func() {
		value, err := read()
		done <- result{value, err}
	}()
	select {
	case r := <-done:
		return r.value, r.err
	case <-ctx.Done():
		return *new(T), ctx.Err()
	}
}
