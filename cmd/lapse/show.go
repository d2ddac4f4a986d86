package main

import (
	"context"
	"fmt"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// showCommand is `lapse show`.
type showCommand struct {
	ID lapse.ID `arg:"" help:"The ID of the token."`
}

func (c *showCommand) Run(a *app) error {
	return a.with(toRead, func(ctx context.Context, t tokens) error {
		tok, err := t.Token(ctx, c.ID)
		if err != nil {
			return err
		}
		return a.show(ctx, t, tok)
	})
}

// show prints all that is known of tok.
func (a *app) show(ctx context.Context, t tokens, tok lapse.Token) error {
	now, err := t.Now(ctx)
	if err != nil {
		return err
	}
	if a.json {
		return a.print(toJSON(tok, now))
	}
	for _, line := range facts(tok, now) {
		if line[1] == "" || line[1] == "-" {
			continue
		}
		if _, err := fmt.Fprintf(a.stdout, "%-16s %s\n", line[0], cell(line[1])); err != nil {
			return err
		}
	}
	return nil
}

// facts returns what is known of tok, each with its name.
func facts(tok lapse.Token, now time.Time) [][2]string {
	facts := [][2]string{
		{"ID", tok.ID.String()},
		{"Subject", tok.Subject},
		{"State", told(tok, now)},
		{"Name", tok.Name},
		{"Scope", tok.Scope},
		{"Client", tok.Client},
		{"Prefix", tok.Prefix},
		{"Kind", tok.Kind.String()},
		{"Issued", exactly(tok.IssuedAt, now)},
		{"Authenticated", exactly(tok.AuthenticatedAt, now)},
		{"Last used", exactly(tok.LastUsedAt, now)},
		{"Expires", exactly(tok.ExpiresAt, now)},
		{"Expires at most", exactly(tok.MaxExpiresAt, now)},
		{"Suspended", exactly(tok.SuspendedAt, now)},
		{"Ended", exactly(tok.EndedAt, now)},
		{"Ended by", tok.EndedBy},
		{"Note", tok.EndNote},
		{"Rotated", exactly(tok.RotatedAt, now)},
	}
	if tok.Data != "" {
		facts = append(facts, [2]string{"Data", fmt.Sprintf("%q", tok.Data)})
	}
	if tok.MaxUses > 0 {
		facts = append(facts, [2]string{"Uses left", fmt.Sprintf("%d of %d", tok.UsesLeft, tok.MaxUses)})
	}
	if tok.Parent != (lapse.ID{}) {
		facts = append(facts, [2]string{"Delegated from", tok.Parent.String()}, [2]string{"Family", tok.Family.String()})
	}
	if tok.Thumbprint != (lapse.Thumbprint{}) {
		facts = append(facts, [2]string{"Bound to key", tok.Thumbprint.String()})
	}
	return facts
}

// exactly returns t to the millisecond, in UTC, and how far it is from now.
func exactly(t, now time.Time) string {
	if t.IsZero() {
		return ""
	}
	text := t.UTC().Format("2006-01-02T15:04:05.000Z")
	if t.Sub(now).Abs() < 24*time.Hour {
		text += " (" + when(t, now) + ")"
	}
	return text
}
