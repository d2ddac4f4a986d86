package bolt

import (
	"fmt"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/storage"
)

// Errors of Open for a file that is no store of this version of lapse. The file is left as it
// was, to the byte.
var (
	// ErrNotStore: not a regular file, or a bbolt file that another program made. Name another
	// path.
	ErrNotStore = fault.ErrNotStore

	// ErrNewerSchema: a later version of lapse wrote the file, or the log beside it, in a way
	// that this one does not know. Upgrade lapse.
	ErrNewerSchema = fault.ErrNewerSchema
)

// ErrTooMany: Options.MaxTokens allows no more records, or fewer records than the file has. An
// Update returns ErrTooMany together with ErrUnavailable.
var ErrTooMany = fault.ErrTooMany

// Causes for which nothing can be written. They come with ErrUnavailable. If it is unknown
// whether something was written, they come with ErrOutcomeUnknown. Reads go on.
var (
	// ErrDiskFull: there is no room for file or log to grow, or a limit was reached. Writing
	// goes on when there is room.
	ErrDiskFull = fault.ErrDiskFull

	// ErrReadOnly: the file system takes no writes, or Options.ReadOnly is set. In the former
	// case writing goes on when the file system takes writes again.
	ErrReadOnly = fault.ErrReadOnly

	// ErrReplaced: the path of the file, or of its log, leads to another file, or to none; or
	// another program has written to the file. Put back what was there, or close the store and
	// open it again.
	ErrReplaced = fault.ErrReplaced
)

var errReadOnlyOption = fmt.Errorf("%w: %w: it was opened with Options.ReadOnly", storage.ErrUnavailable, ErrReadOnly)
