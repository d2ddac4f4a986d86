package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// backupCommand is `lapse backup`.
type backupCommand struct {
	To    string `arg:"" predictor:"file" help:"The file to write, - for the standard output."`
	Force bool   `help:"Replace a file that is there."`
}

func (c *backupCommand) Run(a *app) error {
	if c.To == "-" {
		return c.stream(a)
	}
	if err := c.free(); err != nil {
		return err
	}
	return a.with(toWrite, func(ctx context.Context, t tokens) error {
		if err := c.apart(a.place.File); err != nil {
			return err
		}
		copied, err := c.copyOf(ctx, a, t)
		if err != nil {
			return err
		}
		defer copied.Close()
		defer os.Remove(copied.Name())
		found, err := proven(a, copied.Name())
		if err != nil {
			return fmt.Errorf("the copy is no good, and was removed: %w", err)
		}
		if err := c.name(copied.Name()); err != nil {
			return err
		}
		if dir, err := os.Open(filepath.Dir(c.To)); err == nil { // the name survives a power cut, where the system can do that
			_ = dir.Sync()
			dir.Close()
		}
		return a.tell(found, c.To)
	})
}

// free returns an error if a file has the name To that the copy may not replace.
func (c *backupCommand) free() error {
	info, err := os.Lstat(c.To)
	switch {
	case errors.Is(err, os.ErrNotExist) && c.To != "":
		return nil
	case err != nil:
		return err
	case !info.Mode().IsRegular():
		return usage("%s is no regular file; name another file, or - for the standard output", c.To)
	case !c.Force:
		return existing(c.To)
	}
	return nil
}

// apart returns an error if To is the file of the tokens, or a file that a process has open, which would go on
// with a file that has no name, or the name of the log of any file. file is "" if it is not known.
func (c *backupCommand) apart(file string) error {
	to := strings.TrimSuffix(c.To, "-lapse")
	info, err := os.Stat(to)
	if err != nil {
		return nil
	}
	if to != c.To {
		return usage("%s is the name of the log of %s; name another file", c.To, to)
	}
	if its, err := os.Stat(file); err == nil && os.SameFile(info, its) {
		return usage("%s belongs to the tokens themselves; name another file", c.To)
	}
	if who := holder(to); who != "" {
		return inUseError(fmt.Sprintf("%s has %s open; name another file", who, to))
	}
	return nil
}

// stream writes the copy to the standard output.
func (c *backupCommand) stream(a *app) error {
	if onTerminal(a.stdout) {
		return usage("a backup is no text for a terminal; name a file, or send it on: lapse backup - | …")
	}
	return a.with(toWrite, func(ctx context.Context, t tokens) error { return t.Backup(ctx, a.stdout) })
}

// copyOf writes a copy into a temporary file for To, and returns the file. It removes the stale ones first.
func (c *backupCommand) copyOf(ctx context.Context, a *app, t tokens) (*os.File, error) {
	removeStale(c.To)
	f, err := newTemp(c.To)
	if err != nil {
		return nil, err
	}
	stats, _ := t.StoreStats(ctx) // for the progress alone
	p := a.progress("copying")
	defer p.clear()
	err = errors.Join(t.Backup(ctx, p.writer(f, stats.FileSize)), f.Sync())
	if err != nil || !hasLocks {
		err = errors.Join(err, f.Close())
	}
	if err != nil {
		os.Remove(f.Name())
	}
	return f, err
}

// name gives the copy its name in one step.
func (c *backupCommand) name(copied string) error {
	if c.Force {
		return os.Rename(copied, c.To)
	}
	err := os.Link(copied, c.To) // never replaces a file
	switch {
	case errors.Is(err, os.ErrExist):
		return existing(c.To)
	case err != nil: // a file system without links
		return os.Rename(copied, c.To)
	}
	return nil
}

func existing(path string) error {
	return usage("%s is there already; name another file, or give --force", path)
}

// records is how many tokens are in a file, and how many records that are damaged.
type records struct{ tokens, damaged int }

// String returns "2 tokens" or "2 tokens and 1 damaged record".
func (r records) String() string {
	text := counted(r.tokens, "token")
	if r.damaged > 0 {
		text += " and " + counted(r.damaged, "damaged record")
	}
	return text
}

// tell says that r are in the file at path. The error says that some are damaged.
func (a *app) tell(r records, path string) error {
	var err error
	if a.json {
		err = a.print(map[string]int{"tokens": r.tokens, "damaged": r.damaged})
	} else {
		a.say("%v in %s", r, path)
	}
	if err == nil && r.damaged > 0 {
		err = fmt.Errorf("the damaged records are refused, the others work; lapse check says more: %w", lapse.ErrCorrupt)
	}
	return err
}

// proven reads the whole file at path and returns what is in it.
func proven(a *app, path string) (records, error) {
	p := a.progress("reading " + plain(path))
	defer p.clear()
	s, err := bolt.Open(path, &bolt.Options{ReadOnly: true, Progress: p.pages})
	if err != nil {
		return records{}, err
	}
	stats := s.Stats()
	return records{stats.Tokens, stats.Damaged}, s.Close()
}
