package main

import (
	"context"
	"errors"
)

// compactCommand is `lapse compact`.
type compactCommand struct{}

func (c *compactCommand) Run(a *app) error {
	return a.with(toWrite, func(ctx context.Context, t tokens) error {
		before, err := t.StoreStats(ctx)
		if err != nil {
			return err
		}
		if err := t.Compact(ctx); err != nil {
			return err
		}
		after, err := t.StoreStats(ctx)
		if a.json {
			return errors.Join(err, a.print(map[string]int64{"before": before.FileSize, "after": after.FileSize}))
		}
		a.say("%s before, %s now", size(before.FileSize), size(after.FileSize))
		return err
	})
}
