package storage

// Stats are counts and errors of a store that keeps its records in a file, as storage/bolt does. Its
// words are those of that package.
type Stats struct {
	Tokens   int   // records that the store holds, including dead ones
	Damaged  int   // records that were damaged when the file was opened, and are denied
	FileSize int64 // of the file, in bytes; 0 under Options.ReadOnly
	LogSize  int64 // of the log, in bytes; 0: there is no log
	Unsaved  int   // records with a renewal that waits to be flushed
	Commits  int   // groups of writes that were made durable since Open
	Writes   int   // calls that were written in these groups, including flushes and steps of sweeps
	Failed   int   // such calls that failed, or whose outcome is unknown

	// Repaired reports that Options.Repair has passed damage.
	Repaired bool

	// Err is why nothing can be written at the moment, or nil. The store tries again once a
	// second.
	Err error

	// NoLog is why no log can be made beside the file, or nil: each group is written into the
	// file itself, which takes longer.
	NoLog error

	// CheckpointErr is why the log cannot be merged into the file at the moment, or nil.
	// Writing goes on until the log is as long as it may be.
	CheckpointErr error
}
