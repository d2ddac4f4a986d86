package storage

import (
	"errors"
	"fmt"
)

// The errors of a Store. All may come wrapped: match them with errors.Is. None
// of them ever says that a token is no good; they say that the store could not
// tell or could not do.
var (
	// ErrNotFound: no such record.
	ErrNotFound = errors.New("storage: no such token")

	// ErrConflict: the ID is taken, the record is another subject's, or the
	// write would revive or re-date an end. Nothing was written.
	ErrConflict = errors.New("storage: conflicting write")

	// ErrUnavailable: the store cannot answer at the moment. Nothing was
	// written; try again.
	ErrUnavailable = errors.New("storage: unavailable")

	// ErrOutcomeUnknown: the write may or may not have happened. Read before
	// trying again.
	ErrOutcomeUnknown = errors.New("storage: outcome of the write unknown; read before trying again")

	// ErrClosed: the store has been closed.
	ErrClosed = errors.New("storage: closed")

	// ErrCorrupt: what is stored is damaged, or is nothing that was stored here. A damaged record is denied, and
	// every other one goes on working; a file that is damaged as a whole is
	// refused and left as it is. Restore it from a backup.
	ErrCorrupt = errors.New("storage: damaged")

	// ErrLocked: another process, or another store in this one, has the file
	// open. Close it there first.
	ErrLocked = errors.New("storage: in use: the file is open elsewhere; close it there first")
)

var (
	errForeignRecord = fmt.Errorf("%w: the record names another subject than the update", ErrConflict)
	errTakenID       = fmt.Errorf("%w: another subject holds this ID", ErrConflict)
	errUncapped      = fmt.Errorf("%w: a lower expiry needs a cap that is not above it", ErrConflict)
	errRevival       = fmt.Errorf("%w: an end is final", ErrConflict)
)
