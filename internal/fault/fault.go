// Package fault gives the errors of bbolt, of the log and of the operating system the classes of
// the contract of a store. It also has the classes that package bolt adds.
package fault

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

// The classes that are not in package storage. Package bolt exports them, and its comments say what
// each class means.
var (
	ErrNotStore    = errors.New("not a lapse store; name another path")
	ErrNewerSchema = errors.New("written by a newer version of lapse; upgrade this one")
	ErrTooMany     = errors.New("bolt: too many tokens; sweep the dead ones, or raise Options.MaxTokens")
	ErrDiskFull    = errors.New("bolt: the disk is full; make room, and writing goes on")
	ErrReadOnly    = errors.New("bolt: the store is read-only")
	ErrReplaced    = errors.New("bolt: the file was moved, deleted, replaced or overwritten; put it back, or close the store and open it again")
)

// Because returns err with the class of its cause, if nothing can be written because of that cause.
// Otherwise it returns err. It also compares texts, because bbolt keeps only the text of an error of
// growing the file.
func Because(err error) error {
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

// Classify returns err, an error of bbolt, of the log or of the operating system, with its class in
// the contract. Nothing was written, unless err says that the outcome is unknown.
func Classify(err error) error {
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
		return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, Because(err))
	case errors.Is(err, log.ErrReplaced):
		return fmt.Errorf("%w: %w: %w", storage.ErrUnavailable, ErrReplaced, err)
	case errors.Is(err, berrors.ErrTimeout), errors.Is(err, localfile.ErrLocked):
		return fmt.Errorf("%w: %w", storage.ErrLocked, err)
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, Because(err))
}

// NotBegun is Classify for the error of a step that comes before a call's own write or copy. The
// call has written nothing, so the class is ErrUnavailable even if the outcome of the step is
// unknown.
func NotBegun(err error) error {
	if errors.Is(err, storage.ErrOutcomeUnknown) {
		return otherOutcome{err}
	}
	return Classify(err)
}

// otherOutcome is an error with ErrOutcomeUnknown of an earlier step. The call that returns it has
// written nothing.
type otherOutcome struct{ error }

func (e otherOutcome) Error() string {
	return fmt.Sprintf("%v: what has to come before it failed: %v", storage.ErrUnavailable, e.error)
}

func (e otherOutcome) Is(target error) bool {
	return target == storage.ErrUnavailable || target != storage.ErrOutcomeUnknown && errors.Is(e.error, target)
}
