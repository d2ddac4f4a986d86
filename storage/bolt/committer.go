package bolt

import (
	"errors"
	"fmt"
	"runtime"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/storage"
)

// commitWaiting writes group after group until there will be no more, and all that
// there are then. While one is being written the next one gathers, so that many
// callers share a sync and nobody waits for a timer.
func (s *Store) commitWaiting() {
	for more := true; more; {
		select {
		case <-s.work:
		case <-s.quit:
			more = false
		}
		for g := s.seal(); g != nil; g = s.seal() {
			s.write(g)
			s.finish(g)
			for range yields {
				runtime.Gosched()
			}
		}
	}
}

// yields is how often the committer lets others run before it takes the next group: whom
// the last one has let go may join that.
const yields = 16

// seal returns the oldest group, to which nothing is added from now on, if there is
// one and nobody is writing.
func (s *Store) seal() *group {
	s.turn.Take()
	defer s.turn.Give()
	if s.writing || len(s.queue) == 0 {
		return nil
	}
	s.writing, s.queue[0].sealed = true, true
	return s.queue[0]
}

// lead has the committer write o, or the caller, in await, if nobody else is writing or
// seems about to: then nobody has to be woken for it. Its caller has the turn.
func (s *Store) lead(o *op) *group {
	if s.writing || s.crowded || len(s.queue) > 0 {
		return s.enqueue(o)
	}
	g := s.join(o)
	s.writing, g.sealed, o.leads = true, true, true
	return g
}

// write commits those ops of g that have no err yet, sets it, and has the table show what
// is durable: without the turn, so that the next group gathers meanwhile.
func (s *Store) write(g *group) {
	ops := g.waiting()
	if len(ops) == 0 {
		return
	}
	if o := ops[0]; o.alone != nil {
		o.next, o.err = o.alone(s.log)
		return
	}
	err := s.log.commit(ops)
	durable := make([][]table.Write, 0, len(ops))
	for _, o := range ops {
		if o.err = err; err == nil {
			durable = append(durable, o.writes)
		}
	}
	s.stage.Reveal(durable...)
}

// errBefore is the error of what was to be written after, and upon, something that
// was not.
var errBefore = fmt.Errorf("%w: what was to be written just before could not be; try again", storage.ErrUnavailable)

// finish holds what of g is durable no more, takes back the rest and what went by it, and
// lets the callers go.
func (s *Store) finish(g *group) {
	s.turn.Take()
	defer s.turn.Give()
	defer close(g.done)
	s.queue, s.writing, s.crowded = s.queue[1:], false, len(g.ops) > 1 || len(s.queue) > 1
	if len(s.queue) > 0 {
		ring(s.work)
	}
	var unknown []*op
	failed, anew := 0, false
	for _, o := range g.ops {
		if o.next != nil {
			s.log.close()
			s.log = o.next
		}
		switch {
		case o.err == nil:
			s.stage.LetGo(o.writes)
			continue
		case errors.Is(o.err, storage.ErrOutcomeUnknown):
			s.deny(o)
			s.unsave(o)
			unknown = append(unknown, o)
			anew = true
		default:
			anew = anew || !o.undone && o.alone == nil // by which nobody goes
			s.takeBack(o)
		}
		failed++
	}
	if g.ops[0].alone == nil {
		s.tally.add(len(g.ops), failed)
	}
	if anew {
		g.failed = true
		s.failWaiting()
	}
	if s.log.uncertain() && s.trouble.Load() == nil { // or this is one of those that waited, and the trouble knows more
		s.mistrust(unknown)
	}
	if s.table.Unsaved() > 0 {
		ring(s.alarm)
	}
}

// failWaiting fails all that waits: it may have gone by what could not be written. Who
// waits for a group without a part in it may have read that.
func (s *Store) failWaiting() {
	for _, g := range s.queue {
		g.failed = true
		for _, o := range g.waiting() {
			if o.alone == nil {
				o.err = errBefore
				s.takeBack(o)
			}
		}
	}
}

// takeBack undoes what staging o has done, once.
func (s *Store) takeBack(o *op) {
	if o.undone {
		return
	}
	o.undone = true
	s.stage.LetGo(o.writes)
	s.unsave(o)
	s.leftovers = append(s.leftovers, o.deletes...)
}

// unsave has what o has flushed flushed again: it is not in the file, or nobody knows.
func (s *Store) unsave(o *op) {
	for _, p := range o.puts {
		if p.flushed {
			s.table.MarkUnsaved(p.id)
		}
	}
}
