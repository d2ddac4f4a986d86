package main

import (
	"context"
	"errors"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// editCommand is `lapse edit`.
type editCommand struct {
	ID      lapse.ID `arg:"" help:"The ID of the token."`
	Name    *string  `help:"Another name; an empty one clears it."`
	Scope   *string  `help:"Another scope; an empty one clears it."`
	Expires *moment  `placeholder:"TIME" help:"Another expiry: 2026-12-31T18:00:00Z, or from now on 90s, 15m, 12h or 7d. An earlier one also becomes the cap of all renewals."`
	Uses    *int     `placeholder:"N" help:"How many uses it has in all, with those that are spent; 0 lifts the limit."`
	noted
}

func (c *editCommand) Run(a *app) error {
	if c.Name == nil && c.Scope == nil && c.Expires == nil && c.Uses == nil {
		return usage("nothing to change; give --name, --scope, --expires or --uses")
	}
	return a.with(toWrite, func(ctx context.Context, t tokens) error {
		changes := lapse.Changes{Name: c.Name, Scope: c.Scope, MaxUses: c.Uses}
		if c.Expires != nil {
			now, err := t.Now(ctx)
			if err != nil {
				return err
			}
			at := c.Expires.after(now)
			changes.ExpiresAt = &at
		}
		tok, err := t.Edit(acting(ctx, c.Note), c.ID, changes)
		if err != nil {
			return err
		}
		return a.show(ctx, t, tok)
	})
}

// moment is an instant, or a distance from now.
type moment struct {
	at   time.Time
	from time.Duration
}

// UnmarshalText reads an instant of RFC 3339, or a duration.
func (m *moment) UnmarshalText(text []byte) (err error) {
	if m.from, err = parseSpan(string(text)); err == nil {
		return nil
	}
	if m.at, err = time.Parse(time.RFC3339, string(text)); err != nil {
		return errors.New("not an instant; write 2026-12-31T18:00:00Z, or a duration from now as 90s, 15m, 12h or 7d")
	}
	return nil
}

// after returns the instant that m says at now.
func (m *moment) after(now time.Time) time.Time {
	if m.at.IsZero() {
		return now.Add(m.from)
	}
	return m.at
}
