package main

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"path/filepath"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/admin"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
)

// tokens are the verbs that the commands need. A *lapse.Manager has them, and so has an *admin.Client.
type tokens interface {
	Issue(ctx context.Context, g lapse.Grant) (lapse.Issued, error)
	Peek(ctx context.Context, bearer string) (lapse.Token, error)
	List(ctx context.Context, q lapse.Query) iter.Seq2[lapse.Token, error]
	Expire(ctx context.Context, id lapse.ID) (ended bool, err error)
	ExpireSubject(ctx context.Context, subject string, keep ...lapse.ID) (ended int, err error)
}

// command is what one run of the program does with tokens.
type command func(ctx context.Context, t tokens) error

// with runs do with the tokens of the daemon or, if no daemon answers, with those of the file. Between
// these two tries the daemon may have started or stopped, and another command may have the file. So with
// makes both tries again, for about 5 seconds. It runs do again only after an error that says that
// nothing was written.
func (d desktop) with(ctx context.Context, do command) error {
	var noDaemon, inUse error
	for range 50 {
		noDaemon = d.askDaemon(ctx, do)
		if !errors.Is(noDaemon, lapse.ErrUnavailable) && !errors.Is(noDaemon, errors.ErrUnsupported) {
			return noDaemon // nil, or the answer of the daemon
		}
		inUse = d.useFile(ctx, do)
		if !errors.Is(inUse, storage.ErrLocked) {
			return inUse
		}
	}
	return fmt.Errorf("no daemon answers, and another program has the file; end that program and try again: %w; %w", noDaemon, inUse)
}

// askDaemon returns lapse.ErrUnavailable if no daemon runs, and errors.ErrUnsupported on Windows.
func (d desktop) askDaemon(ctx context.Context, do command) error {
	path, err := admin.DefaultPath(d.file())
	if err != nil {
		return err
	}
	client, err := admin.Dial(ctx, path)
	if err != nil {
		return err
	}
	defer client.Close()
	return do(ctx, client)
}

// useFile returns storage.ErrLocked if another program has the file.
func (d desktop) useFile(ctx context.Context, do command) error {
	store, manager, err := d.open(100 * time.Millisecond)
	if err != nil {
		return err
	}
	return errors.Join(do(ctx, manager), store.Close())
}

// open opens the file, for the daemon and for a command: so both have one policy. wait is for another
// program to close the file.
func (d desktop) open(wait time.Duration) (*bolt.Store, *lapse.Manager, error) {
	store, err := bolt.Open(d.file(), &bolt.Options{LockTimeout: wait})
	if err != nil {
		return nil, nil, err
	}
	const day = 24 * time.Hour
	manager, err := lapse.New(store, lapse.Config{Policy: lapse.Policy{TTL: 30 * day, MaxTTL: 365 * day}})
	if err != nil {
		return nil, nil, errors.Join(err, store.Close())
	}
	return store, manager, nil
}

func (d desktop) file() string { return filepath.Join(d.dir, "tokens.db") }
