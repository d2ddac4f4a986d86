package bolt

import (
	"context"
	"errors"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/storage"
)

// Close implements storage.Store. It waits for the calls that are under way; those that wait
// for their turn to write get ErrClosed, and a Backup that has not ended is cut off. Close
// writes what Touch deferred and takes the log into the file. An error means that some of that
// is not in the file: where the log could not be taken, it stays, and the next Open takes it.
// A second Close waits for the first and returns nil.
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

// lastFlush writes everything that is not on the disk. After it nothing is enqueued.
func (s *Store) lastFlush() error {
	s.writeNow(context.Background(), new(op)) // an op that was staged before may fail, and leave records owed for the flush
	err := s.flushNow(context.Background())
	if err == nil && s.marks.Mark() != s.journal.mark() {
		s.writeNow(context.Background(), &op{forceMark: true}) // or the next Open would begin with the mark that a crash leaves
	}
	s.turn.Take()
	defer s.turn.Give()
	s.shut = true
	return err
}

// closeTree takes the log into the tree, removes it, and closes the file.
func (s *Store) closeTree() error {
	t := s.tree
	t.Turn.Take()
	defer t.Turn.Give()
	t.Cut(storage.ErrClosed)
	var err error
	if l := s.journal.log; l != nil {
		s.journal.number = max(s.journal.number, l.Highest()) // above it nothing of the log can ever count
		s.journal.dirty = append(s.journal.dirty, s.owed...)
		if err = s.checkpointNow(false); err != nil {
			err = errors.Join(err, l.Close())
		} else {
			err = l.Remove()
		}
	}
	return fault.NotBegun(errors.Join(err, t.Release()))
}
