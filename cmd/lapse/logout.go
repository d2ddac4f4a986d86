package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-55daa01a/lapse"
)

// logoutCommand is `lapse logout`.
type logoutCommand struct {
	Subject string     `arg:"" help:"Whose tokens."`
	Keep    []lapse.ID `placeholder:"ID" help:"A token that lives on."`
	asked
	noted
}

func (c *logoutCommand) Run(a *app) error {
	if c.Subject == "" {
		return usage("the subject is empty; say whose tokens to end")
	}
	if err := c.possible(a); err != nil {
		return err
	}
	return a.with(toWrite, func(ctx context.Context, t tokens) error {
		question, err := c.question(ctx, a, t)
		if err != nil {
			return err
		}
		if question != "" {
			if err := c.confirm(a, question); err != nil {
				return err
			}
		}
		n, err := t.ExpireSubject(acting(ctx, c.Note), c.Subject, c.Keep...)
		if err != nil {
			return err
		}
		if a.json {
			return a.print(map[string]int{"ended": n})
		}
		a.say("%s ended", counted(n, "token"))
		return nil
	})
}

// question returns what to ask before the tokens end, or "" if none is alive. A mistyped ID to keep is an
// error, since that token would end.
func (c *logoutCommand) question(ctx context.Context, a *app, t tokens) (string, error) {
	for _, id := range c.Keep {
		switch tok, err := t.Token(ctx, id); {
		case err != nil:
			return "", fmt.Errorf("--keep %v: %w", id, err)
		case tok.Subject != c.Subject:
			return "", usage("--keep %v: it is a token of another subject", id)
		}
	}
	n, err := t.Count(ctx, lapse.Query{Subject: c.Subject, Live: true})
	if errors.Is(err, lapse.ErrCorrupt) {
		a.warn(err) // that token is refused already
	} else if err != nil {
		return "", err
	}
	switch {
	case n == 0:
		return "", nil
	case len(c.Keep) > 0:
		return fmt.Sprintf("%s has %s. End all but those to keep?", c.Subject, counted(n, "live token")), nil
	}
	return fmt.Sprintf("%s has %s. End all?", c.Subject, counted(n, "live token")), nil
}
