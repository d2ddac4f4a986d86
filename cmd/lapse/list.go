package main

import (
	"context"
	"errors"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// lsCommand is `lapse ls`.
type lsCommand struct {
	Subject  *string `arg:"" optional:"" help:"Whose tokens; those of all subjects if not given."`
	Name     string  `help:"Tokens of this name."`
	All      bool    `short:"a" help:"Dead tokens, too."`
	Expiring *span   `placeholder:"DURATION" help:"Live tokens that will be dead after DURATION unless they are renewed."`
}

func (c *lsCommand) Run(a *app) error {
	subject, err := subjectOf(c.Subject)
	if err != nil {
		return err
	}
	switch {
	case c.Expiring == nil:
		c.Expiring = new(span)
	case c.All:
		return usage("--all lists dead tokens, and --expiring live ones; give one of them")
	case *c.Expiring == 0:
		return usage("--expiring is 0, and no token that lives is dead then; say how far to look ahead, as 7d")
	}
	return a.with(toRead, func(ctx context.Context, t tokens) error {
		q := lapse.Query{Subject: subject, Prefix: a.place.Prefix, Name: c.Name, Live: !c.All, Within: time.Duration(*c.Expiring)}
		return a.list(ctx, t, t.List(ctx, q), c.Subject == nil)
	})
}

// subjectOf returns the subject that was given, or "" if none was. An empty one is an error: a shell makes it
// of a variable that is not set, and all tokens were not meant.
func subjectOf(given *string) (string, error) {
	switch {
	case given == nil:
		return "", nil
	case *given == "":
		return "", usage("the subject is empty; say whose tokens, or leave the argument out for all")
	}
	return *given, nil
}

// sessionsCommand is `lapse sessions`.
type sessionsCommand struct {
	Subject string `arg:"" help:"Whose sessions."`
}

func (c *sessionsCommand) Run(a *app) error {
	if c.Subject == "" {
		return usage("the subject is empty; say whose sessions")
	}
	return a.with(toRead, func(ctx context.Context, t tokens) error {
		return a.list(ctx, t, t.Sessions(ctx, c.Subject), false)
	})
}

// list prints tokens. A damaged record is told, and the others are printed all the same.
func (a *app) list(ctx context.Context, t tokens, all iter.Seq2[lapse.Token, error], subjects bool) error {
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	var damaged error
	rows := tokenTable(a, subjects)
	for tok, err := range all {
		switch {
		case errors.Is(err, lapse.ErrCorrupt):
			damaged = err
			a.warn(err)
			continue
		case err != nil:
			return errors.Join(err, rows.flush())
		case a.json:
			err = a.print(toJSON(tok, now))
		default:
			err = rows.add(tokenRow(tok, now, subjects))
		}
		if err != nil {
			return err
		}
	}
	return errors.Join(rows.flush(), damaged)
}

// tokenTable returns a table of tokens, with their subjects or without.
func tokenTable(a *app, subjects bool) *table {
	head := []string{"ID", "NAME", "SCOPE", "LAST USED", "EXPIRES", "STATE"}
	if subjects {
		head = append([]string{"SUBJECT"}, head...)
	}
	return &table{out: a.stdout, colour: a.coloured(), head: head}
}

// tokenRow returns the row of tok.
func tokenRow(tok lapse.Token, now time.Time, subject bool) row {
	cells := []string{tok.ID.String(), tok.Name, tok.Scope, when(tok.LastUsedAt, now), when(tok.ExpiresAt, now), told(tok, now)}
	if subject {
		cells = append([]string{tok.Subject}, cells...)
	}
	return row{cells, !tok.Live(now)}
}
