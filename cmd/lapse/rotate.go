package main

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
)

// rotateCommand is `lapse rotate`.
type rotateCommand struct {
	ID      lapse.ID `arg:"" help:"The ID of the token."`
	Overlap span     `default:"24h" placeholder:"DURATION" help:"How long the text of now still works; 0s ends it at once."`
	noted
}

func (c *rotateCommand) Run(a *app) error {
	return a.asking(func(ctx context.Context, t *admin.Client) error {
		i, err := t.RotateID(acting(ctx, c.Note), c.ID, time.Duration(c.Overlap))
		if err != nil {
			return err
		}
		err = a.hand(ctx, t, i, nil)
		if err == nil && !a.json && c.Overlap > 0 {
			a.say("the text of before works for at most %s", distance(time.Duration(c.Overlap)))
		}
		return err
	})
}
