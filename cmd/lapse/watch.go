package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// watchCommand is `lapse watch`.
type watchCommand struct {
	Subject *string `arg:"" optional:"" help:"Whose tokens; those of all subjects if not given."`
	Name    string  `help:"Tokens of this name."`
}

// Run prints changes until the person interrupts it, which is no failure.
func (c *watchCommand) Run(a *app) error {
	subject, err := subjectOf(c.Subject)
	if err != nil {
		return err
	}
	q := lapse.Query{Subject: subject, Prefix: a.place.Prefix, Name: c.Name}
	err = a.with(toWatch, func(ctx context.Context, t tokens) error { return a.watchOn(ctx, t, q) })
	if a.ctx.Err() != nil {
		return nil
	}
	return err
}

// watchOn is watch, except that it watches a database again, a second later, when the connection has failed.
func (a *app) watchOn(ctx context.Context, t tokens, q lapse.Query) error {
	for {
		err := a.watch(ctx, t, q)
		if _, database := t.(*alone); !database || !errors.Is(err, lapse.ErrUnavailable) {
			return err
		}
		a.warn(fmt.Errorf("%w; watching again", err))
		select { // the store connects again by itself
		case <-time.After(time.Second):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// watch prints the changes of q until the watch ends.
func (a *app) watch(ctx context.Context, t tokens, q lapse.Query) error {
	var damaged error
	for change, err := range t.Watch(ctx, q) {
		switch {
		case errors.Is(err, lapse.ErrCorrupt):
			damaged = err
			a.warn(err)
			continue
		case err == nil:
			err = a.printChange(ctx, t, change)
		}
		if err != nil {
			return err
		}
	}
	return damaged
}

// changeJSON is a change as --json prints it: a token, a deleted one, or a gap.
type changeJSON struct {
	Token   *tokenJSON `json:"token,omitempty"`
	Deleted *lapse.ID  `json:"deleted,omitempty"`
	Subject string     `json:"subject,omitempty"` // of the deleted one
	Gap     bool       `json:"gap,omitempty"`
}

// printChange prints c in one line.
func (a *app) printChange(ctx context.Context, t tokens, c lapse.Change) error {
	tok := c.Token
	switch {
	case c.Gap && a.json:
		return a.print(changeJSON{Gap: true})
	case c.Gap:
		_, err := fmt.Fprintln(a.stdout, "gap: changes were missed; list the tokens again")
		return err
	case c.Deleted && a.json:
		return a.print(changeJSON{Deleted: &tok.ID, Subject: tok.Subject})
	case c.Deleted:
		_, err := fmt.Fprintf(a.stdout, "%s  %s  deleted\n", tok.ID, cell(tok.Subject))
		return err
	}
	var now time.Time
	if tok.EndReason == 0 { // an end is dead at any time, and ends come in thousands
		var err error
		if now, err = t.Now(ctx); err != nil {
			return err
		}
	}
	if a.json {
		shown := toJSON(tok, now)
		return a.print(changeJSON{Token: &shown})
	}
	_, err := fmt.Fprintf(a.stdout, "%s  %s  %s  %s\n", tok.ID, cell(tok.Subject), cell(tok.Name), cell(told(tok, now)))
	return err
}
