package storage

import "errors"

// The errors of a Store. All of them may come wrapped: match them with errors.Is. None of them says
// that a token is invalid. They say that the store could not answer or could not act.
var (
	// ErrNotFound: there is no such record.
	ErrNotFound = errors.New("storage: no such token")

	// ErrConflict: the ID is taken, the record belongs to another subject, or the write would
	// revive a token, change its end, or bind it to another key. Nothing was written.
	ErrConflict = errors.New("storage: conflicting write")

	// ErrUnavailable: the store cannot answer at the moment. Nothing was
	// written; try again.
	ErrUnavailable = errors.New("storage: unavailable")

	// ErrOutcomeUnknown: the write may or may not have happened. Read before
	// trying again. For Issue that is what Grant.RequestID is for: the same call
	// again then finds the token, or makes it.
	ErrOutcomeUnknown = errors.New("storage: outcome of the write unknown; read before trying again")

	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("storage: closed")

	// ErrCorrupt: the stored data is damaged, or was not written by this store. A damaged record is
	// denied, and every other one goes on working. A file that is damaged as a whole is refused and
	// left as it is: restore it from a backup.
	ErrCorrupt = errors.New("storage: damaged")

	// ErrTooManyWrites: one Update puts or deletes more records than the engine takes at a time.
	// Nothing was written. The message names the limit; act on fewer tokens at a time.
	ErrTooManyWrites = errors.New("storage: too many writes in one update")

	// ErrLocked: the file is open in another process, or in another store of this process. Close it
	// there first.
	ErrLocked = errors.New("storage: in use: the file is open elsewhere; close it there first")
)
