package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// restoreCommand is `lapse restore`.
type restoreCommand struct {
	From string `arg:"" predictor:"file" help:"The backup."`
	asked
}

func (c *restoreCommand) Run(a *app) error {
	if err := a.place.onlyFile("restore a database with pg_restore"); err != nil {
		return err
	}
	found, err := proven(a, c.From)
	if err != nil {
		return fmt.Errorf("the backup cannot be used, and nothing was changed: %w", err)
	}
	if err := replaceable(a.place.File); err != nil {
		return err
	}
	question := fmt.Sprintf("Put the %v of %s in the place of what is in %s? Tokens that were ended since live again.", found, c.From, a.place.File)
	if _, err := os.Stat(a.place.File); errors.Is(err, os.ErrNotExist) {
		question = fmt.Sprintf("Make %s with the %v of %s?", a.place.File, found, c.From)
	}
	if err := c.confirm(a, question); err != nil {
		return err
	}
	if err := bolt.Restore(c.From, a.place.File); err != nil {
		if errors.Is(err, storage.ErrLocked) {
			return stopFirst(a.place.File)
		}
		return err
	}
	return a.tell(found, a.place.File)
}

// replaceable returns an error if the file at path is the database of another program. One that is damaged may be
// replaced: a backup is for that.
func replaceable(path string) error {
	s, err := bolt.Open(path, &bolt.Options{ReadOnly: true})
	switch {
	case err == nil:
		return s.Close()
	case errors.Is(err, bolt.ErrNotStore):
		return err
	}
	return nil
}

// onlyFile returns an error unless p is a file.
func (p *place) onlyFile(database string) error {
	if err := p.fromEnvironment(); err != nil {
		return err
	}
	if p.File == "" {
		return usage("this is for a file that no program has open: stop the program and name its file with --file; %s", database)
	}
	return nil
}
