package bolt

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/seed-55daa01a/lapse/internal/boltfile"
	"github.com/seed-55daa01a/lapse/internal/localfile"
	"github.com/seed-55daa01a/lapse/internal/log"
	"github.com/seed-55daa01a/lapse/storage"
)

// Errors of Open that say what the file is instead of a store. The file is left as it was, to
// the byte.
var (
	// ErrNotStore: not a regular file, or a bbolt file that another program made. Name another
	// path.
	ErrNotStore = errors.New("not a lapse store; name another path")

	// ErrNewerSchema: a later version of lapse wrote the file, or the log beside it, in a way
	// that this one does not know. Upgrade lapse.
	ErrNewerSchema = errors.New("written by a newer version of lapse; upgrade this one")
)

// ErrTooMany: there is no room for more records, or for all of the file's, under
// Options.MaxTokens. From Update it comes with ErrUnavailable.
var ErrTooMany = errors.New("bolt: too many tokens; sweep the dead ones, or raise Options.MaxTokens")

// Causes for which nothing can be written. They come with ErrUnavailable, or, if it is unknown
// whether something was written, with ErrOutcomeUnknown. Reads go on.
var (
	// ErrDiskFull: there is no room for file or log to grow, or a limit was reached. Writing
	// goes on when there is room.
	ErrDiskFull = errors.New("bolt: the disk is full; make room, and writing goes on")

	// ErrReadOnly: the file system takes no writes, or Options.ReadOnly is set. In the former
	// case writing goes on when the file system takes writes again.
	ErrReadOnly = errors.New("bolt: the store is read-only")

	// ErrReplaced: the path of the file, or of its log, leads to another file, or to none; or
	// another program has written to the file. Put back what was there, or close the store and
	// open it again.
	ErrReplaced = errors.New("bolt: the file was moved, deleted, replaced or overwritten; put it back, or close the store and open it again")
)

var (
	errReadOnlyOption = fmt.Errorf("%w: %w: it was opened with Options.ReadOnly", storage.ErrUnavailable, ErrReadOnly)
	errOverwritten    = fmt.Errorf("%w: another program has written to it", ErrReplaced)
	errCut            = fmt.Errorf("%w: it was cut short", ErrReplaced)
	errReopened       = fmt.Errorf("%w: the file had to be opened again; try again", storage.ErrUnavailable)
)

// What Open finds damaged, and Options.Repair passes.
var (
	errMetaLost = fmt.Errorf("%w: one of its two meta pages is lost; look at the disk; Options.Repair opens the file by the other one, "+
		"and what was acknowledged is there, unless the process crashed in its first write", storage.ErrCorrupt)
	errChanged = fmt.Errorf("%w: its records are not the ones that lapse wrote last: another program has changed them, or a page is lost or older than the others, "+
		"which cannot be told apart; restore a backup, or open the file as it is with Options.Repair", storage.ErrCorrupt)
	errStale = fmt.Errorf("%w: the last commit lost a page; restore a backup, or open the file as it is with Options.Repair", storage.ErrCorrupt)

	errLogMissing = fmt.Errorf("%w: the log that belongs to it is missing, and what was written last with it; put the file ending in -lapse beside it, "+
		"or open it without with Options.Repair", storage.ErrCorrupt)
	errLogForeign = fmt.Errorf("%w: the log beside it belongs to another store, or another state of this one; put back the log or the file that belong together, "+
		"or open the file alone with Options.Repair, which renames the log", storage.ErrCorrupt)
	errLogShort = fmt.Errorf("%w: its log ends too early; restore a backup, or open the file with Options.Repair", storage.ErrCorrupt)

	errFileMissing = fmt.Errorf("%w: only the log is there; put the file back, or remove the log to begin with an empty store", storage.ErrCorrupt)
)

// because adds to err what its cause means, if nothing can be written because of that. It looks at
// the text, too: bbolt keeps only the text of an error in growing the file.
func because(err error) error {
	for cause, means := range map[error]error{
		syscall.ENOSPC: ErrDiskFull, syscall.EDQUOT: ErrDiskFull, syscall.EFBIG: ErrDiskFull,
		berrors.ErrMaxSizeReached: ErrDiskFull, log.ErrFull: ErrDiskFull, syscall.EROFS: ErrReadOnly,
	} {
		if errors.Is(err, cause) || strings.HasSuffix(err.Error(), ": "+cause.Error()) {
			return fmt.Errorf("%w: %w", means, err)
		}
	}
	return err
}

// classify gives an error of bbolt or of the operating system the class that the contract has
// for it, if nothing was written.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, storage.ErrCorrupt), errors.Is(err, storage.ErrUnavailable), errors.Is(err, storage.ErrOutcomeUnknown),
		errors.Is(err, storage.ErrLocked), errors.Is(err, storage.ErrClosed),
		errors.Is(err, ErrNotStore), errors.Is(err, ErrNewerSchema), errors.Is(err, ErrTooMany):
		return err
	case errors.Is(err, boltfile.ErrNoBucket), errors.Is(err, localfile.ErrIrregular):
		return fmt.Errorf("%w: %w", ErrNotStore, err)
	case errors.Is(err, boltfile.ErrEmpty):
		return fmt.Errorf("%w: %w; if nothing was ever in it, remove it and Open makes a store", storage.ErrCorrupt, err)
	case errors.Is(err, log.ErrNewer):
		return fmt.Errorf("%w: %w", ErrNewerSchema, err)
	case errors.Is(err, boltfile.ErrDamaged), errors.Is(err, log.ErrDamaged), errors.Is(err, log.ErrUnfinished):
		return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	case errors.Is(err, log.ErrUnknown):
		return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, because(err))
	case errors.Is(err, log.ErrReplaced):
		return fmt.Errorf("%w: %w: %w", storage.ErrUnavailable, ErrReplaced, err)
	case errors.Is(err, berrors.ErrTimeout), errors.Is(err, localfile.ErrLocked):
		return fmt.Errorf("%w: %w", storage.ErrLocked, err)
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, because(err))
}

// notBegun is classify for the error of a step that comes before a call's own write or copy. The
// call has written nothing, so it is ErrUnavailable even where the outcome of the step is unknown.
func notBegun(err error) error {
	if errors.Is(err, storage.ErrOutcomeUnknown) {
		return otherOutcome{err}
	}
	return classify(err)
}

// otherOutcome is an error whose outcome is not that of the call which returns it.
type otherOutcome struct{ error }

func (e otherOutcome) Error() string {
	return fmt.Sprintf("%v: what has to come before it failed: %v", storage.ErrUnavailable, e.error)
}

func (e otherOutcome) Is(target error) bool {
	return target == storage.ErrUnavailable || target != storage.ErrOutcomeUnknown && errors.Is(e.error, target)
}
