package bolt

import "github.com/seed-55daa01a/lapse/storage"

// Stats returns the counts and errors of s. It waits for an Update that runs, but not for the disk.
func (s *Store) Stats() storage.Stats {
	s.turn.Take()
	defer s.turn.Give()
	st := storage.Stats{
		Tokens: s.table.Len(), Damaged: len(s.damaged), Unsaved: s.table.Unsaved(), Repaired: s.repaired,
		Commits: s.tally.commits, Writes: s.tally.writes, Failed: s.tally.failed, Err: s.cause,
	}
	st.Unsaved += int(s.unflushed.Load()) // read after the table's number: a renewal that a flush begins to write in between counts twice, not never
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
