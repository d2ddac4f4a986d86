package bolt

import (
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// logLimit returns how many bytes the log may have. A longer log makes checkpoints rarer, and
// they write fewer pages in all.
func (s *Store) logLimit() int64 { return max(1<<20, s.tree.Length.Load()/8) }

// retryEvery is the pause before a checkpoint, or a write, that has failed is tried again.
const retryEvery = time.Second

// checkpointLoop merges the log into the tree whenever the log is half as long as it may be.
func (s *Store) checkpointLoop() {
	retry := time.NewTimer(retryEvery)
	retry.Stop()
	for {
		select {
		case <-s.full:
		case <-retry.C:
		case <-s.closed:
			retry.Stop()
			return
		}
		if l := s.journal.current(); l.Used() <= s.logLimit()/2 {
			continue // the committer has done a checkpoint meanwhile
		}
		if s.checkpoint(true) != nil {
			retry.Reset(retryEvery)
		}
	}
}

// checkpoint writes the dirty records into the tree, as the table shows them, and frees the log
// up to the last group that the table shows. needsLog says whether groups may follow in the log.
// The store has a log.
func (s *Store) checkpoint(needsLog bool) error {
	s.tree.Turn.Take()
	defer s.tree.Turn.Give()
	return s.checkpointNow(needsLog)
}

// checkpointStep is how many records one transaction of a checkpoint writes. The pages that the
// transaction changes stay in memory until its end, and the file grows by as many pages.
const checkpointStep = 1024

// checkpointNow is checkpoint for a caller that holds the turn of the tree. The groups that writers
// show meanwhile stay in the log, though some records in the tree are as these groups left them: to
// apply a group once more changes nothing. Where the tree has to be whole without the log,
// checkpointNow then holds revealing, so that the table shows no other group while it takes the number
// of the last one and reads the records that are dirty still.
func (s *Store) checkpointNow(needsLog bool) error {
	number, ids, mark := s.journal.takeDirty()
	err := s.writeSteps(ids)
	var changes []wire.Entry
	if err == nil && !needsLog {
		var rest []storage.ID
		s.revealing.Lock()
		number, rest, mark = s.journal.takeDirty()
		changes, err = tree.EntriesOf(s.table, rest)
		s.revealing.Unlock()
		ids = append(ids, rest...)
	}
	if err == nil {
		err = s.writeLast(changes, number, &mark, needsLog)
	}
	s.journal.endCheckpoint(ids, err)
	return err
}

// writeSteps writes the records of ids as the table shows them, checkpointStep in a transaction.
func (s *Store) writeSteps(ids []storage.ID) error {
	slices.SortFunc(ids, storage.ID.Compare)
	for step := range slices.Chunk(slices.Compact(ids), checkpointStep) {
		changes, err := tree.EntriesOf(s.table, step)
		if err == nil {
			err = s.tree.Update(changes, s.tree.State, nil)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// writeLast writes changes, after which the tree has all groups up to number.
func (s *Store) writeLast(changes []wire.Entry, number uint64, mark *storage.Mark, needsLog bool) error {
	l, next := s.journal.current(), s.tree.State
	if next.Log == l.ID() { // otherwise the log has no group yet
		next.Merged, next.NeedsLog = number, needsLog
	}
	err := s.tree.Write(changes, next, mark)
	if err == nil {
		l.Free(number)
	}
	return err
}
