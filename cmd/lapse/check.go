package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// checkCommand is `lapse check`.
type checkCommand struct {
	Repair bool `help:"Open a file that is refused as damaged, and let go of what cannot be read. Make a copy of the file and its log first."`
	asked
}

func (c *checkCommand) Run(a *app) error {
	if c.Repair {
		return c.repair(a)
	}
	return a.with(toRead, func(ctx context.Context, t tokens) error { return a.check(ctx, t) })
}

// check reads every token and prints how many are good.
func (a *app) check(ctx context.Context, t tokens) error {
	var good, damaged int
	var first error
	for _, err := range t.List(ctx, lapse.Query{}) {
		switch {
		case errors.Is(err, lapse.ErrCorrupt):
			damaged++
			first = cmp.Or(first, err)
			a.warn(err)
		case err != nil:
			return err
		default:
			good++
		}
	}
	if a.json {
		if err := a.print(map[string]int{"good": good, "damaged": damaged}); err != nil {
			return err
		}
	} else if _, err := fmt.Fprintf(a.stdout, "%s good, %d damaged\n", counted(good, "token"), damaged); err != nil {
		return err
	}
	if damaged > 0 {
		return fmt.Errorf("%s damaged and refused, the others work: end and issue what is damaged, or restore a backup: %w", counted(damaged, "token"), first)
	}
	return nil
}

// repair opens the file with bolt.Options.Repair, and checks what is in it then.
func (c *checkCommand) repair(a *app) error {
	if err := a.place.onlyFile("a database is repaired by its own tools"); err != nil {
		return err
	}
	if _, err := os.Stat(a.place.File); err != nil {
		return err
	}
	if err := c.confirm(a, fmt.Sprintf("Repair %s? What cannot be read is lost.", a.place.File)); err != nil {
		return err
	}
	p := a.progress("reading " + plain(a.place.File))
	s, err := bolt.Open(a.place.File, &bolt.Options{Repair: true, Progress: p.pages})
	p.clear()
	switch {
	case errors.Is(err, storage.ErrLocked):
		return stopFirst(a.place.File)
	case err != nil:
		return err
	case s.Stats().Repaired:
		a.say("repaired")
	default:
		a.say("no damage that a repair mends")
	}
	t, err := newAlone(s, "", a.clock)
	if err != nil {
		return err
	}
	return errors.Join(a.check(a.ctx, t), t.Close())
}
