package storage

import (
	"context"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/internal/elapsed"
)

// Watcher is an optional ability of a Store: it tells which records were replaced or deleted (clauses
// S23 to S26). With a Store that is no Watcher, a Manager that holds connections reads their tokens
// again and again instead.
type Watcher interface {
	// Watch yields a Change for every record that an Update of any caller replaces or deletes, except
	// a Put that only raises LastUsedAt or ExpiresAt. It yields the Change once the record can be read
	// and, for Updates of this Store, before Update returns. The first Change is a Gap, since changes
	// from before the watch are not told. The order is not promised. First Puts, renewals, and
	// deletions by Sweep need not be told.
	//
	// A pair with an error is the last one. The error is ErrClosed once the store is closed, the
	// context's error once that has ended, or the reason why the store hears nothing any more. The
	// loop body may call the store. A slow loop body makes no writer wait; it may get a Gap instead
	// of the changes that it missed.
	Watch(ctx context.Context) iter.Seq2[Change, error]
}

// Change is one message of a Watch.
type Change struct {
	ID      ID     // of a record that was replaced or deleted; zero if the Change is a Gap or has AsOf
	Subject string // the subject of that record
	Gap     bool   // any record may have changed

	// AsOf, unless zero, says that every change of an Update of any process which had returned before
	// this instant has been told to this watch. It is an instant of Elapsed, from before the store
	// asked its engine for the proof.
	AsOf time.Duration
}

// Elapsed returns the time that has passed since this process began, with the time during which the
// machine was suspended, where that can be known. It is no time of day: no wall clock that is set
// changes it.
func Elapsed() time.Duration { return elapsed.Now() }

// MustTell reports whether S23 demands that a watch tells of an Update that replaces old by r. old is
// nil where no record has the ID. The result is false then, and where r differs from old at most by a
// later LastUsedAt or a later ExpiresAt. A store may tell of such a Put all the same.
func MustTell(old *Record, r Record) bool {
	if old == nil {
		return false
	}
	raised := *old
	Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}.Raise(&raised)
	return !raised.Equal(r)
}
