package bolt

import (
	"errors"
	"fmt"
	"strings"
	"syscall"

	berrors "go.etcd.io/bbolt/errors"

	"github.com/seed-55daa01a/lapse/storage"
)

// Errors of Open that say what the file is instead of a store. The file is left
// as it was, to the byte.
var (
	// ErrNotStore: not a regular file, or a bbolt file that another program
	// made. Name another path.
	ErrNotStore = errors.New("not a lapse store; name another path")

	// ErrNewerSchema: a later version of lapse wrote the file in a way this one
	// does not know. Upgrade lapse.
	ErrNewerSchema = errors.New("written by a newer version of lapse; upgrade this one")
)

// ErrTooMany: there is no room for more records, or for all of the file's, under
// Options.MaxTokens. From Update it comes with ErrUnavailable.
var ErrTooMany = errors.New("bolt: too many tokens; sweep the dead ones, or raise Options.MaxTokens")

// Causes for which nothing can be written. They come with ErrUnavailable, or, if it
// cannot be told whether something was, with ErrOutcomeUnknown. Reads go on.
var (
	// ErrDiskFull: there is no room for the file to grow, or a limit was reached.
	// Writing goes on when there is room.
	ErrDiskFull = errors.New("bolt: the disk is full; make room, and writing goes on")

	// ErrReadOnly: the file system takes no writes. Writing goes on when it does.
	ErrReadOnly = errors.New("bolt: the file system is read-only; mount it writable, and writing goes on")

	// ErrReplaced: the path no longer leads to the file that is open: it was deleted,
	// or another one has its name. Put it back, or close the store and open it again.
	ErrReplaced = errors.New("bolt: the file was moved, deleted or replaced; put it back, or close the store and open it again")
)

// because adds to an error of the operating system, or of bbolt, what it means.
func because(err error) error {
	switch {
	case isAny(err, syscall.ENOSPC, syscall.EDQUOT, syscall.EFBIG), errors.Is(err, berrors.ErrMaxSizeReached):
		return fmt.Errorf("%w: %w", ErrDiskFull, err)
	case isAny(err, syscall.EROFS):
		return fmt.Errorf("%w: %w", ErrReadOnly, err)
	}
	return err
}

// isAny looks at the text, too: bbolt keeps nothing else of an error in growing the
// file.
func isAny(err error, causes ...syscall.Errno) bool {
	for _, cause := range causes {
		if errors.Is(err, cause) || strings.HasSuffix(err.Error(), ": "+cause.Error()) {
			return true
		}
	}
	return false
}

// classify gives an error of bbolt the class that the contract has for it, if
// nothing was written.
func classify(err error) error {
	switch {
	case err == nil, errors.Is(err, storage.ErrCorrupt), errors.Is(err, storage.ErrUnavailable),
		errors.Is(err, storage.ErrLocked), errors.Is(err, ErrNotStore), errors.Is(err, ErrNewerSchema), errors.Is(err, ErrTooMany):
		return err
	case errors.Is(err, berrors.ErrDatabaseNotOpen):
		return storage.ErrClosed
	case errors.Is(err, berrors.ErrTimeout):
		return storage.ErrLocked
	case errors.Is(err, errLost), errors.Is(err, errMetaLost), errors.Is(err, berrors.ErrInvalid), errors.Is(err, berrors.ErrChecksum), errors.Is(err, berrors.ErrVersionMismatch):
		return fmt.Errorf("%w: %w", storage.ErrCorrupt, err)
	}
	return fmt.Errorf("%w: %w", storage.ErrUnavailable, because(err))
}
