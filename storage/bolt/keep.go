package bolt

import (
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// recoverEvery is the pause between two tries to end a time of trouble.
const recoverEvery = time.Second

// keep merges what the committer hands on, flushes what Touch has deferred, every
// FlushEvery, and ends times of trouble. In
// one of those nothing can be flushed, so that a single timer does for both. It runs only
// while there is something to wait for, and nothing about the life of a token depends on
// when it goes off.
func (s *Store) keep() {
	pace := s.opts.FlushEvery
	if pace == FlushAtOnce { // and then there is hardly ever anything to flush
		pace = recoverEvery
	}
	timer := time.NewTimer(pace)
	timer.Stop()
	troubled := false // the timer was set in a time of trouble
	for {
		select {
		case <-s.alarm:
			trouble := s.trouble.Load() != nil
			switch {
			case trouble && !(s.timed.Load() && troubled):
				timer.Reset(recoverEvery)
			case !trouble && !s.timed.Load() && (s.table.Unsaved() > 0 || s.marks.Unsaved()):
				timer.Reset(pace)
			default:
				continue
			}
			troubled = trouble
			s.timed.Store(true)
			continue
		case m := <-s.merges:
			m.do() // the committer hears of an error
			continue
		case <-timer.C:
			s.timed.Store(false) // before it looks for what Touch has deferred: what it does not find rings
		case <-s.closed:
			timer.Stop()
			return
		}
		s.turn.Take()
		s.recover()
		s.turn.Give()
		s.flush() // an error is on the tally, and it is tried again
	}
}

// flush writes what Touch has deferred until it is called, and no more: who keeps
// touching keeps nobody waiting. There is one at a time, so that all of it is durable,
// or unsaved again, when the next one begins.
func (s *Store) flush() error {
	s.flushing <- struct{}{}
	defer func() { <-s.flushing }()
	ids := s.table.TakeUnsaved(s.table.Len(), &s.unflushed)
	slices.SortFunc(ids, storage.ID.Compare) // neighbours in the file
	var err error
	for round := 0; round < 2 && len(ids) > 0 && err == nil; round++ {
		ids, err = s.flushOnce(ids)
	}
	if err == nil && s.marks.Unsaved() { // although something may have been written
		err = s.flushMark()
	}
	if s.marks.Unsaved() {
		ring(s.alarm)
	}
	if len(ids) > 0 {
		for _, id := range ids {
			s.table.MarkUnsaved(id)
		}
		ring(s.alarm)
	}
	s.turn.Take() // or Stats might look for marks before they are back, and here after
	s.unflushed.Store(0)
	s.turn.Give()
	return err
}

// flushStep is how many renewals one op of a flush holds: who writes meanwhile waits
// for no more.
const flushStep = 256

// flushOnce writes the records of ids, but for those that wait to be written anyway:
// it returns them when what they waited for is done. What is held of them by then was
// put after they were touched, and has it in it. With an error it returns what is
// still to be marked.
func (s *Store) flushOnce(ids []storage.ID) (held []storage.ID, err error) {
	for len(ids) > 0 {
		n := min(flushStep, len(ids))
		g, o, err := s.stageFlush(ids[:n], &held)
		if err != nil {
			return append(held, ids...), err
		}
		ids = ids[n:]
		if g != nil {
			<-g.done
		}
		if o != nil && o.err != nil {
			return append(held, ids...), o.err
		}
	}
	return held, nil
}

// stageFlush stages the records of ids, and adds to held what has to wait for others.
// group is what to wait for, if anything, and op is nil if nothing was staged.
func (s *Store) stageFlush(ids []storage.ID, held *[]storage.ID) (*group, *op, error) {
	s.turn.Take()
	defer s.turn.Give()
	if s.flushed { // this one is of a Backup that began before
		return nil, nil, storage.ErrClosed
	}
	if t := s.trouble.Load(); t != nil {
		return nil, nil, t.err
	}
	o := new(op)
	for _, id := range ids {
		var r storage.Record
		switch {
		case s.stage.Holds(id):
			*held = append(*held, id)
			continue
		case !s.table.Get(id, &r):
			continue
		}
		value, err := encode(&r)
		if err != nil {
			return nil, nil, err
		}
		o.puts = append(o.puts, entry{id: id, value: value, flushed: true})
	}
	if len(o.puts) > 0 {
		return s.enqueue(o), o, nil
	}
	return s.newest(), nil, nil
}

// lastMark writes how far time has come where that is further than the file says: a
// minute less is as good as a crash, and so no error.
func (s *Store) lastMark() {
	s.turn.Take()
	ahead := s.marks.Mark() != s.log.marked
	s.turn.Give()
	if ahead {
		s.flushMark()
	}
}

// flushMark writes how far time has come.
func (s *Store) flushMark() error {
	s.turn.Take()
	if t := s.trouble.Load(); t != nil || s.flushed {
		s.turn.Give()
		return nil // it is written with what comes next
	}
	o := new(op)
	g := s.enqueue(o)
	s.turn.Give()
	<-g.done
	return o.err
}
