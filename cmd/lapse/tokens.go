package main

import (
	"context"
	"io"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// tokens are the tokens of a place: the Client of a program, or a store that no program has open. What needs
// the program is a method of the Client alone.
type tokens interface {
	Now(ctx context.Context) (time.Time, error)
	List(ctx context.Context, q lapse.Query) iter.Seq2[lapse.Token, error]
	Count(ctx context.Context, q lapse.Query) (int, error)
	Sessions(ctx context.Context, subject string) iter.Seq2[lapse.Token, error]
	Token(ctx context.Context, id lapse.ID) (lapse.Token, error)
	Watch(ctx context.Context, q lapse.Query) iter.Seq2[lapse.Change, error]

	Expire(ctx context.Context, id lapse.ID) (bool, error)
	ExpireBearer(ctx context.Context, bearer string) (lapse.Token, error)
	ExpireSubject(ctx context.Context, subject string, keep ...lapse.ID) (int, error)
	Suspend(ctx context.Context, id lapse.ID) (bool, error)
	Resume(ctx context.Context, id lapse.ID) (bool, error)
	Edit(ctx context.Context, id lapse.ID, changes lapse.Changes) (lapse.Token, error)

	// These are of the store as a whole.
	Sweep(ctx context.Context) (int, error)
	StoreStats(ctx context.Context) (storage.Stats, error)
	Backup(ctx context.Context, w io.Writer) error
	Compact(ctx context.Context) error
	Close() error
}
