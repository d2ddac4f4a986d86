package main

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// sweepCommand is `lapse sweep`.
type sweepCommand struct {
	Retention *span `placeholder:"DURATION" help:"How long dead tokens are kept. A program has that in its policy; a store alone needs it."`
	noted
}

func (c *sweepCommand) Run(a *app) error {
	if c.Retention != nil && *c.Retention < 0 {
		return usage("--retention is negative; 0s deletes all that are dead")
	}
	return a.with(toWrite, func(ctx context.Context, t tokens) error {
		n, err := c.sweep(acting(ctx, c.Note), t)
		if err != nil {
			return err
		}
		if a.json {
			return a.print(map[string]int{"deleted": n})
		}
		a.say("%s deleted", counted(n, "dead token"))
		return nil
	})
}

// sweep deletes dead tokens, by the policy of the program or by Retention.
func (c *sweepCommand) sweep(ctx context.Context, t tokens) (int, error) {
	a, is := t.(*alone)
	switch {
	case is && c.Retention == nil:
		return 0, usage("no program is there to say how long dead tokens are kept; give --retention, 24h for instance")
	case is:
		return a.sweep(ctx, time.Duration(*c.Retention))
	case c.Retention != nil:
		return 0, usage("the program has its retention in its policy; leave --retention out")
	}
	return t.Sweep(ctx)
}

// sweep deletes the tokens that have been dead for retention.
func (a *alone) sweep(ctx context.Context, retention time.Duration) (int, error) {
	m, err := lapse.New(a.store, lapse.Config{Clock: a.clock, Policy: lapse.Policy{Retention: max(retention, time.Millisecond)}})
	if err != nil {
		return 0, err
	}
	return m.Sweep(ctx)
}
