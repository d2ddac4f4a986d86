package recovery

import (
	"fmt"

	"github.com/seed-55daa01a/lapse/storage"
)

// Errors of Open for damage. Options.Repair passes all of them, except ErrFileMissing.
var (
	ErrMetaLost = fmt.Errorf("%w: one of its two meta pages is lost; look at the disk; Options.Repair opens the file by the other one, "+
		"and what was acknowledged is there, unless the machine, or two processes in a row, went down in a write or just after it", storage.ErrCorrupt)
	ErrChanged = fmt.Errorf("%w: its records are not the ones that lapse wrote last: another program has changed them, or a page is lost or older than the others, "+
		"which cannot be told apart; restore a backup, or open the file as it is with Options.Repair", storage.ErrCorrupt)
	ErrStale = fmt.Errorf("%w: the last commit lost a page, or another program has committed twice without changes, "+
		"which cannot be told apart; restore a backup, or open the file as it is with Options.Repair", storage.ErrCorrupt)

	ErrLogMissing = fmt.Errorf("%w: the log that belongs to it is missing, and what was written last with it; put the file ending in -lapse beside it, "+
		"or open it without with Options.Repair", storage.ErrCorrupt)
	ErrLogForeign = fmt.Errorf("%w: the log beside it belongs to another store, or another state of this one; put back the log or the file that belong together, "+
		"or open the file alone with Options.Repair, which renames the log", storage.ErrCorrupt)
	ErrLogShort = fmt.Errorf("%w: its log ends too early; restore a backup, or open the file with Options.Repair", storage.ErrCorrupt)

	ErrFileMissing = fmt.Errorf("%w: only the log is there; put the file back, or remove the log to begin with an empty store", storage.ErrCorrupt)
)
