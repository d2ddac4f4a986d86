package bolt

import "os"

// Stats is what a Store knows of itself.
type Stats struct {
	Tokens   int   // records that it holds, dead ones included
	Damaged  int   // records that were found damaged when the file was opened, and are denied
	FileSize int64 // in bytes
	Unsaved  int   // records with a renewal that waits to be flushed
	Commits  int   // groups of writes that were made durable since Open
	Writes   int   // calls that shared them, flushes and steps of sweeps included
	Failed   int   // such calls that failed, or whose outcome is unknown

	// Repaired reports that a meta page was lost and Options.Repair let the file be
	// opened.
	Repaired bool

	// Err is why nothing can be written at the moment, or nil.
	Err error
}

// Stats returns what s knows of itself. It waits for an Update that runs, but not
// for the disk.
func (s *Store) Stats() Stats {
	s.turn.Take()
	defer s.turn.Give()
	st := Stats{
		Tokens: s.table.Len(), Damaged: len(*s.damaged.Load()), Unsaved: s.table.Unsaved(), Repaired: s.log.repaired,
		Commits: s.tally.commits, Writes: s.tally.writes, Failed: s.tally.failed,
	}
	st.Unsaved += int(s.unflushed.Load()) // later than the marks: what is taken in between counts twice, not never
	if info, err := os.Stat(s.log.path); err == nil {
		st.FileSize = info.Size()
	}
	if t := s.trouble.Load(); t != nil {
		st.Err = t.err
	}
	return st
}

// tally counts groups and what was in them.
type tally struct{ commits, writes, failed int }

func (t *tally) add(ops, failed int) {
	t.writes += ops
	t.failed += failed
	if failed < ops {
		t.commits++
	}
}
