package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
)

// holdsCommand is `lapse holds`.
type holdsCommand struct{}

// heldJSON is a token by which connections are held, as --json prints it.
type heldJSON struct {
	tokenJSON
	Connections int `json:"connections"`
}

func (c *holdsCommand) Run(a *app) error {
	return a.asking(func(ctx context.Context, t *admin.Client) error {
		now, err := t.Now(ctx)
		if err != nil {
			return err
		}
		rows := &table{out: a.stdout, head: []string{"SUBJECT", "ID", "NAME", "CONNECTIONS", "LAST USED", "EXPIRES"}}
		var damaged error
		for held, err := range t.Holds(ctx) {
			tok := held.Token
			switch {
			case errors.Is(err, lapse.ErrCorrupt):
				damaged = err
				a.warn(err)
				continue
			case err != nil:
				return err
			case a.json:
				err = a.print(heldJSON{toJSON(tok, now), held.Connections})
			default:
				err = rows.add(row{cells: []string{tok.Subject, tok.ID.String(), tok.Name, fmt.Sprint(held.Connections), when(tok.LastUsedAt, now), when(tok.ExpiresAt, now)}})
			}
			if err != nil {
				return err
			}
		}
		return errors.Join(rows.flush(), damaged)
	})
}
