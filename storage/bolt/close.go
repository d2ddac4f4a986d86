package bolt

import (
	"context"
	"errors"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/storage"
)

// Close implements storage.Store. It waits for the calls that are being written. Calls that
// still wait to write return ErrClosed, and a Backup that has not ended is cut off. Close
// writes the deferred Touches, merges the log into the file and removes the log. After an error
// some of that is not in the file. Where the log could not be merged, it stays, and the next Open
// merges it. A second Close waits for the first and returns nil.
func (s *Store) Close() error {
	var err error
	s.once.Do(func() {
		s.closing.Store(true)
		s.reader.Close()
		close(s.closed)
		s.feed.Close()
		s.running.Wait()
		if s.tree == nil {
			err = s.file.Close()
			return
		}
		err = s.lastFlush()
		close(s.quit)
		s.committing.Wait()
		err = errors.Join(err, s.closeTree())
	})
	return err
}

// lastFlush writes everything that is not on the disk. After lastFlush no op is enqueued, and no
// goroutine writes a group.
func (s *Store) lastFlush() error {
	ctx := context.Background()
	s.writeNow(ctx, new(op)) // waits for earlier ops: one that fails may leave records owed, which the flush writes
	err := s.flushNow(ctx)
	s.turn.Take()
	s.shut = true
	last := &op{forceMark: err == nil && s.marks.Mark() != s.journal.mark()} // with an older mark the next Open would begin as after a crash
	s.enqueue(ctx, last)
	s.turn.Give()
	s.await(ctx, last) // also for an op of a Backup, whose goroutine may write that op
	return err
}

// closeTree merges the log into the tree, removes the log, and closes the file.
func (s *Store) closeTree() error {
	t := s.tree
	t.Turn.Take()
	defer t.Turn.Give()
	t.Cut(storage.ErrClosed)
	var err error
	if l := s.journal.log; l != nil {
		// The log may have a group of unknown outcome that the table does not show as a whole. The
		// checkpoint writes the owed records, as the table shows them. Its state says that all numbers
		// tried so far are merged: if the log cannot be removed, the next Open does not apply that group
		// over these records.
		s.journal.number = max(s.journal.number, l.Highest())
		s.journal.dirty = append(s.journal.dirty, s.owed...)
		if err = s.checkpointNow(false); err != nil {
			err = errors.Join(err, l.Close())
		} else {
			err = l.Remove()
		}
	}
	return fault.NotBegun(errors.Join(err, t.Release()))
}
