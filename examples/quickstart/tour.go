package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/benbjohnson/clock"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// tour is what the steps share: a file, a clock, and two managers on them.
type tour struct {
	ctx     context.Context
	out     io.Writer
	subject string
	path    string
	tempDir string // "" if the file stays after the run

	clock    *clock.Mock
	store    *bolt.Store
	logins   *lapse.Manager // what people log in with
	keys     *lapse.Manager // what scripts are given
	accounts accounts

	earlier []lapse.Token  // what an earlier run left in the file
	laptop  lapse.Issued   // the device that stays logged in
	script  lapse.Issued   // a key for a script
	issued  []lapse.Issued // all of this run; a server would hand them out and forget them
}

// opening is when the day starts on a new file.
var opening = time.Date(2026, time.January, 5, 9, 0, 0, 0, time.UTC)

func newTour(w io.Writer, cfg config) (*tour, error) {
	t := &tour{
		ctx:      context.Background(),
		out:      w,
		subject:  cfg.subject,
		path:     cfg.db,
		clock:    clock.NewMock(), // it says 1970 until it is set
		accounts: accounts{suspended: make(map[string]bool)},
	}
	t.clock.Set(opening)
	if t.path == "" {
		dir, err := os.MkdirTemp("", "lapse-quickstart-")
		if err != nil {
			return nil, err
		}
		t.tempDir, t.path = dir, filepath.Join(dir, "tokens.db")
	}
	if err := t.open(); err != nil {
		t.close()
		return nil, err
	}
	if err := t.resume(); err != nil {
		t.close()
		return nil, err
	}
	return t, nil
}

// open is all the setting up that lapse needs: a store and a manager. A second
// manager on the same store costs nothing; its prefix keeps the tokens apart.
func (t *tour) open() error {
	store, err := bolt.Open(t.path, nil)
	if err != nil {
		return err
	}
	t.store = store

	t.logins, err = lapse.New(store, lapse.Config{
		Policy: lapse.Policy{TTL: 30 * time.Minute, MaxTTL: 8 * time.Hour},
		Clock:  t.clock, // nil would be the system's clock
		Admit:  t.accounts.check,
	})
	if err != nil {
		return err
	}
	t.keys, err = lapse.New(store, lapse.Config{
		Prefix: "key",
		Policy: lapse.Policy{TTL: 30 * 24 * time.Hour, Renewal: lapse.RenewNever},
		Clock:  t.clock,
	})
	return err
}

// resume finds the tokens of an earlier run and moves the clock to the morning after
// that, because time does not go back.
func (t *tour) resume() error {
	var latest time.Time
	for tok, err := range t.logins.List(t.ctx, lapse.Query{Subject: t.subject}) {
		if err != nil {
			return err
		}
		t.earlier = append(t.earlier, tok)
		for _, at := range []time.Time{tok.IssuedAt, tok.LastUsedAt, tok.EndedAt} {
			if at.After(latest) {
				latest = at
			}
		}
	}
	morning := opening
	for !morning.After(latest) {
		morning = morning.AddDate(0, 0, 1)
	}
	t.clock.Set(morning)
	return nil
}

func (t *tour) close() error {
	var err error
	if t.store != nil {
		err = t.store.Close()
	}
	if t.tempDir != "" {
		os.RemoveAll(t.tempDir)
	}
	return err
}

// accounts stands for the user table of the application.
type accounts struct {
	suspended map[string]bool
}

// check is called by every Authenticate. A check that asks a database returns the error
// of a database that is down as it is: "could not tell" logs no one out.
func (a accounts) check(_ context.Context, tok lapse.Token) error {
	if a.suspended[tok.Subject] {
		return fmt.Errorf("%w: the account is suspended", lapse.ErrRefused)
	}
	return nil
}
