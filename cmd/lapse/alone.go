package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"strings"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// errNeedsProgram is the error of a verb that only the program itself can do.
var errNeedsProgram = errors.New("this needs the program whose tokens they are, for its policy, keys and connections; start it, and let it call admin.Serve")

// alone are the tokens of a store without the program whose tokens they are.
type alone struct {
	*lapse.Manager
	store  storage.Store
	prefix string // "": every prefix
	clock  lapse.Clock
}

// newAlone returns the tokens of store. It closes store if that fails. The policy of the program is not known
// here: no cap but those of the tokens themselves makes a token dead.
func newAlone(store storage.Store, prefix string, clock lapse.Clock) (*alone, error) {
	m, err := lapse.New(store, lapse.Config{Prefix: prefix, Clock: clock, Policy: lapse.Policy{MaxTTL: lapse.NoLimit}})
	if err != nil {
		return nil, errors.Join(err, store.Close())
	}
	return &alone{m, store, prefix, clock}, nil
}

// Now returns the time of this machine.
func (a *alone) Now(context.Context) (time.Time, error) { return a.Manager.Now(), nil }

// Sessions yields the live sessions of subject.
func (a *alone) Sessions(ctx context.Context, subject string) iter.Seq2[lapse.Token, error] {
	return func(yield func(lapse.Token, error) bool) {
		for tok, err := range a.List(ctx, lapse.Query{Subject: subject, Prefix: a.prefix, Live: true}) {
			if err == nil && tok.Kind != lapse.KindSession {
				continue
			}
			if !yield(tok, err) {
				return
			}
		}
	}
}

// ExpireBearer ends the token whose text is bearer, by a Manager or by Pairs of the prefixes that the text
// and the record have.
func (a *alone) ExpireBearer(ctx context.Context, bearer string) (lapse.Token, error) {
	for found := range lapse.FindBearers(strings.NewReader(bearer)) {
		tok, err := a.Token(ctx, found.ID)
		switch {
		case errors.Is(err, lapse.ErrNotFound):
			return lapse.Token{}, lapse.ErrUnknown
		case err != nil:
			return lapse.Token{}, err
		case tok.Prefix == found.Prefix:
			m, err := lapse.New(a.store, lapse.Config{Prefix: found.Prefix, Clock: a.clock})
			if err != nil {
				return lapse.Token{}, err
			}
			return m.ExpireBearer(ctx, bearer)
		}
		p, err := lapse.NewPairs(a.store, lapse.PairConfig{
			Access: lapse.Config{Prefix: tok.Prefix, Clock: a.clock}, Refresh: lapse.Config{Prefix: found.Prefix},
		})
		if err != nil {
			return lapse.Token{}, err
		}
		return p.ExpireBearer(ctx, bearer)
	}
	return lapse.Token{}, lapse.ErrMalformed
}

// StoreStats returns the counts of a file.
func (a *alone) StoreStats(context.Context) (storage.Stats, error) {
	if s, ok := a.store.(interface{ Stats() storage.Stats }); ok {
		return s.Stats(), nil
	}
	return storage.Stats{}, errDatabase
}

// Backup writes a copy of a file to w.
func (a *alone) Backup(ctx context.Context, w io.Writer) error {
	if s, ok := a.store.(interface {
		Backup(context.Context, io.Writer) error
	}); ok {
		return s.Backup(ctx, w)
	}
	return errDatabase
}

// Compact makes a file smaller.
func (a *alone) Compact(ctx context.Context) error {
	if s, ok := a.store.(interface{ Compact(context.Context) error }); ok {
		return s.Compact(ctx)
	}
	return errDatabase
}

// errDatabase is the error of a verb of a file for a database.
var errDatabase = fmt.Errorf("%w: a database has tools of its own: pg_dump for backups, VACUUM for compaction, pg_stat_user_tables for counts", errors.ErrUnsupported)

// Close closes the store.
func (a *alone) Close() error { return a.store.Close() }
