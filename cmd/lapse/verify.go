package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
)

// maxInput is how many bytes of standard input and of a file of data are read at most.
const maxInput = 64 << 10

// verifyCommand is `lapse verify`.
type verifyCommand struct{}

func (c *verifyCommand) Run(a *app) error {
	bearer, err := a.readBearer()
	if err != nil {
		return err
	}
	return a.asking(func(ctx context.Context, t *admin.Client) error {
		tok, err := t.Peek(ctx, bearer)
		if errors.Is(err, lapse.ErrUnauthenticated) {
			return &noGoodError{err}
		}
		if err != nil {
			return err
		}
		return a.show(ctx, t, tok)
	})
}

// noGoodError is the error of a text that is no good. Its text begins with the word of lapse.Code.
type noGoodError struct{ error }

func (e *noGoodError) Error() string {
	return lapse.Code(e.error) + ": " + strings.TrimPrefix(e.error.Error(), lapse.ErrUnauthenticated.Error()+": ")
}
func (e *noGoodError) Unwrap() error { return e.error }

// readBearer returns the one text on standard input. A person at a terminal is asked for it.
func (a *app) readBearer() (string, error) {
	var text string
	var err error
	if onTerminal(a.stdin) {
		text, err = a.askSecret("Text of the token (not shown): ")
	} else {
		text, err = a.readAll(a.stdin)
	}
	if err != nil {
		return "", err
	}
	switch lines := strings.FieldsFunc(text, func(r rune) bool { return r == '\n' || r == '\r' }); len(lines) {
	case 0:
		return "", usage("standard input is empty; write the text of one token to it")
	case 1:
		return strings.TrimSpace(lines[0]), nil
	default:
		return "", usage("standard input has several lines; write the text of one token to it")
	}
}

// readAll returns what r has, up to maxInput bytes.
func (a *app) readAll(r io.Reader) (string, error) {
	text, err := await(a.ctx, func() ([]byte, error) { return io.ReadAll(io.LimitReader(r, maxInput+1)) })
	if len(text) > maxInput {
		return "", usage("more than %d bytes of input", maxInput)
	}
	if err != nil {
		return "", fmt.Errorf("read the input: %w", err)
	}
	return string(text), nil
}
