// Package hold schedules the connections that are held open by tokens. It decides when each
// token is read again and when Admit is asked again, and it cuts the connections of a token
// that has died. It knows neither records nor the errors of package lapse: its caller gives
// it both by the functions of a Config.
package hold

import (
	"context"
	"iter"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// Config says what a Scheduler needs of its caller. Only Watch and ReadAll may be nil. The functions
// must be safe for concurrent use. A Scheduler calls RanOut and Replaced with its lock, and
// the other functions without it.
type Config struct {
	Recheck time.Duration  // how often Check is called for each connection, 0 for never
	Poll    time.Duration  // how often each token is read while no watch works
	Elapses bool           // the clock knows how much time has passed (steady.Elapser)
	Marks   *storage.Marks // tell which epoch it is, and when a new one begins

	// Now returns the time that decisions see.
	Now func() time.Time

	// After returns a channel that receives the time once the duration has passed.
	After func(time.Duration) <-chan time.Time

	// FollowClock begins a new epoch in Marks if the clock proves to have been wrong.
	FollowClock func()

	// Read returns what the store says of the token of id. It may panic.
	Read func(ctx context.Context, id storage.ID) State

	// ReadAll returns what the store says of the tokens of ids, in their order. It calls
	// alive whenever the store has answered a part. nil: Read is called for each token.
	// ReadAll may panic.
	ReadAll func(ctx context.Context, ids []storage.ID, alive func()) []State

	// Check asks Admit about the token of id, for one connection: ctx has the values of its
	// context. If Admit refuses, refused is the cause for the connection. If Admit could not
	// tell, failed says why. Check may panic.
	Check func(ctx context.Context, id storage.ID, subject string) (refused, failed error)

	// CheckFailed is told that a Check could not tell, panicked or took too long.
	CheckFailed func(id storage.ID, subject string, err error)

	// Watch yields the changes of the store, as storage.Watcher does. storage.ErrClosed
	// cuts every connection with the error that wraps it.
	Watch func(ctx context.Context) iter.Seq2[storage.Change, error]

	// Exhaust ends a token that was marked as spent. The last of its connections has ended.
	// Each call has a goroutine of its own.
	Exhaust func(id storage.ID, subject string)

	// RanOut returns the cause for the connections of a token whose expiry passed while
	// the store could not be read.
	RanOut func(id storage.ID, subject string, expiry time.Time) error

	// Replaced returns the cause for a connection that a secret of this generation opened,
	// which was replaced with an overlap of 0.
	Replaced func(id storage.ID, subject string, generation uint32) error

	// Cut is told the causes of connections that have been cut: nil for each whose context had
	// ended before.
	Cut func(causes []error)

	// ByGeneration returns cause, of a token, as the cause for a connection that a secret
	// of this generation opened.
	ByGeneration func(cause error, generation uint32) error
}

// State is what a store says of a token that connections are held by.
type State struct {
	Ancestors  []storage.ID // the tokens that this one was delegated from, whose ends end it
	ExpiresAt  time.Time    // of a session, when its access secret runs out if that is earlier
	Generation uint32       // of the current secret
	Floor      uint32       // the least generation of secret by which a connection may still be held
	Cause      error        // why the token is dead, nil if it is not
	Unreadable bool         // the store could not tell; the other fields say nothing
}
