package main

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/seed-55daa01a/lapse"
)

// severalIDs has the arguments of a verb that changes tokens one by one.
type severalIDs struct {
	ID []lapse.ID `arg:"" help:"The IDs of the tokens."`
	noted
}

// revokeCommand is `lapse revoke`.
type revokeCommand struct{ severalIDs }

func (c *revokeCommand) Run(a *app) error { return c.each(a, "revoked", tokens.Expire) }

// suspendCommand is `lapse suspend`.
type suspendCommand struct{ severalIDs }

func (c *suspendCommand) Run(a *app) error { return c.each(a, "suspended", tokens.Suspend) }

// resumeCommand is `lapse resume`.
type resumeCommand struct{ severalIDs }

func (c *resumeCommand) Run(a *app) error { return c.each(a, "resumed", tokens.Resume) }

// changedJSON says what became of one token.
type changedJSON struct {
	ID      lapse.ID `json:"id"`
	Changed bool     `json:"changed"`
	State   string   `json:"state,omitempty"` // of a token that was not changed
	Code    string   `json:"code"`
}

// each calls verb for every ID, and tells what became of each token: word if it was changed. An error about
// one token does not keep the others from being tried. The error is all of those together.
func (c *severalIDs) each(a *app, word string, verb func(tokens, context.Context, lapse.ID) (bool, error)) error {
	return a.with(toWrite, func(ctx context.Context, t tokens) error {
		var failed []error
		for _, id := range c.ID {
			err := a.change(acting(ctx, c.Note), t, id, word, verb)
			if err == nil {
				continue
			}
			failed = append(failed, fmt.Errorf("%v: %w", id, err))
			untold := errors.Is(err, syscall.EPIPE) // and done all the same
			if !untold && !errors.Is(err, lapse.ErrNotFound) && !errors.Is(err, lapse.ErrUnauthenticated) && !errors.Is(err, lapse.ErrCorrupt) {
				break // the next token would meet the same
			}
		}
		return errors.Join(failed...)
	})
}

// change calls verb for the token of id, and tells what became of it.
func (a *app) change(ctx context.Context, t tokens, id lapse.ID, word string, verb func(tokens, context.Context, lapse.ID) (bool, error)) error {
	changed, err := verb(t, ctx, id)
	var left string
	if err == nil && !changed {
		left, err = a.unchanged(ctx, t, id)
	}
	switch {
	case a.json:
		return errors.Join(err, a.print(changedJSON{id, changed, left, lapse.Code(err)}))
	case err != nil:
		return err
	case changed:
		a.say("%v %s", id, word)
	default:
		a.say("%v not changed: it is %s", id, cell(left))
	}
	return nil
}

// unchanged says in which state the token of id is, which a verb has left alone.
func (a *app) unchanged(ctx context.Context, t tokens, id lapse.ID) (string, error) {
	tok, err := t.Token(ctx, id)
	if err != nil {
		return "", err
	}
	now, err := t.Now(ctx)
	if a.json {
		return state(tok, now), err
	}
	return told(tok, now), err
}
