package bolt

// Stats is what a Store knows of itself.
type Stats struct {
	Tokens   int   // records that it holds, dead ones included
	Damaged  int   // records that were found damaged when the file was opened, and are denied
	FileSize int64 // of the file, in bytes; 0 under Options.ReadOnly
	LogSize  int64 // of the log, in bytes; 0: there is none
	Unsaved  int   // records with a renewal that waits to be flushed
	Commits  int   // groups of writes that were made durable since Open
	Writes   int   // calls that shared them, flushes and steps of sweeps included
	Failed   int   // such calls that failed, or whose outcome is unknown

	// Repaired reports that Options.Repair has passed damage.
	Repaired bool

	// Err is why nothing can be written at the moment, or nil. The store tries again once a
	// second.
	Err error

	// NoLog is why no log can be made beside the file, or nil: each group is written into the
	// file itself, which takes longer.
	NoLog error

	// CheckpointErr is why the log cannot be taken into the file at the moment, or nil.
	// Writing goes on until the log is as long as it may be.
	CheckpointErr error
}

// Stats returns what s knows of itself. It waits for an Update that runs, but not for the disk.
func (s *Store) Stats() Stats {
	s.turn.Take()
	defer s.turn.Give()
	st := Stats{
		Tokens: s.table.Len(), Damaged: len(s.damaged), Unsaved: s.table.Unsaved(), Repaired: s.repaired,
		Commits: s.tally.commits, Writes: s.tally.writes, Failed: s.tally.failed, Err: s.cause,
	}
	st.Unsaved += int(s.unflushed.Load()) // read after the table's number: a renewal that a flush takes in between counts twice, not never
	if s.tree != nil {
		st.FileSize = s.tree.Length.Load()
	}
	j := &s.journal
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.log != nil {
		st.LogSize = j.log.Size()
	}
	st.NoLog, st.CheckpointErr = j.noLog, j.failed
	return st
}
