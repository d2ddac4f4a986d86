package bolt

import (
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// recoverEvery is the pause between two tries to end a time of trouble.
const recoverEvery = time.Second

// keep flushes what Touch has deferred, and ends times of trouble, at its pace. It
// has a timer only while there is something to wait for, and nothing about the life
// of a token depends on when it goes off.
func (s *Store) keep() {
	pace := s.opts.FlushEvery
	if pace == FlushAtOnce {
		pace = recoverEvery
	}
	for {
		select {
		case <-s.alarm:
		case <-s.closed:
			return
		}
		timer := time.NewTimer(pace)
		select {
		case <-timer.C:
		case <-s.closed:
			timer.Stop()
			return
		}
		s.turn <- struct{}{}
		s.recover()
		<-s.turn
		s.flush() // an error is on the tally, and it is tried again
	}
}

// flushStep is how many renewals one op of a flush holds: who writes meanwhile waits
// for no more.
const flushStep = 256

// flush writes what Touch has deferred, but for records that wait to be written
// anyway.
func (s *Store) flush() error {
	for {
		g, o, err := s.stageFlush()
		if g == nil || err != nil {
			return err
		}
		if <-g.done; o.err != nil {
			return o.err
		}
	}
}

// stageFlush stages the next step of a flush. There is none if group is nil.
func (s *Store) stageFlush() (*group, *op, error) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	if t := s.trouble.Load(); t != nil {
		if s.table.Unsaved() == 0 {
			return nil, nil, nil
		}
		return nil, nil, t.err
	}
	ids := s.table.TakeUnsaved(flushStep)
	slices.SortFunc(ids, storage.ID.Compare) // neighbours in the file
	o := new(op)
	for _, id := range ids {
		if s.stage.Holds(id) {
			s.table.MarkUnsaved(id) // and showing what is held rings again
			continue
		}
		var r storage.Record
		if !s.table.Get(id, &r) {
			continue
		}
		value, err := encode(&r)
		if err != nil {
			return nil, nil, err
		}
		o.puts = append(o.puts, entry{id: id, value: value, flushed: true})
	}
	if len(o.puts) == 0 {
		return nil, nil, nil
	}
	return s.enqueue(o), o, nil
}
