package bolt

import (
	"errors"
	"fmt"
	"runtime"
	"slices"

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
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
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

// write commits those ops of g that have no err yet, and sets it. Where one of them
// cannot be written, the others are written without it, each by itself.
func (s *Store) write(g *group) {
	ops := g.waiting()
	switch {
	case len(ops) == 0:
		return
	case ops[0].compacts:
		ops[0].next, ops[0].err = s.log.compact()
		return
	}
	err := s.log.commit(ops)
	var one *opError
	if !errors.As(err, &one) || len(ops) == 1 {
		for _, o := range ops {
			o.err = err
		}
		return
	}
	for i, o := range ops {
		if o.err == nil && s.log.uncertain() {
			o.err = errBefore
		}
		if o.err != nil {
			continue
		}
		if o.err = s.log.commit(ops[i : i+1]); o.err != nil {
			for _, later := range ops[i+1:] {
				if later.goesBy(o) {
					later.err = errBefore
				}
			}
		}
	}
}

// errBefore is the error of what was to be written after, and upon, something that
// was not.
var errBefore = fmt.Errorf("%w: what was to be written just before could not be; try again", storage.ErrUnavailable)

// finish shows what of g is durable, takes back the rest and what went by it, and
// lets the callers go.
func (s *Store) finish(g *group) {
	s.turn <- struct{}{}
	defer func() { <-s.turn }()
	defer close(g.done)
	s.queue, s.writing, s.crowded = s.queue[1:], false, len(g.ops) > 1 || len(s.queue) > 1
	if len(s.queue) > 0 {
		ring(s.work)
	}
	var failed, unknown []*op
	for _, o := range g.ops {
		if o.next != nil {
			s.log.close()
			s.log = o.next
		}
		switch {
		case o.err == nil:
			s.stage.Show(o.writes)
			continue
		case errors.Is(o.err, storage.ErrOutcomeUnknown):
			s.deny(o)
			s.unsave(o)
			unknown = append(unknown, o)
		default:
			s.takeBack(o)
		}
		failed = append(failed, o)
	}
	s.tally.add(g, failed)
	if len(failed) > 0 && !failed[0].compacts { // by which nobody goes
		g.failed = true
		all := len(failed) == len(g.ops) && !slices.ContainsFunc(failed, (*op).failedAlone)
		s.failWaiting(failed, all || s.log.uncertain())
	}
	if s.log.uncertain() && s.trouble.Load() == nil { // or this is one of those that waited, and the trouble knows more
		s.mistrust(unknown)
	}
	if s.table.Unsaved() > 0 {
		ring(s.alarm)
	}
}

// failWaiting fails what waits and went by what has failed, or simply all of it. Who
// waits for a group without a part in it may have read what failed.
func (s *Store) failWaiting(failed []*op, all bool) {
	for _, g := range s.queue {
		g.failed = true
		for _, o := range g.waiting() {
			for _, f := range failed {
				if all || o.goesBy(f) {
					o.err = errBefore
					s.takeBack(o)
					break
				}
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
	s.stage.Drop(o.writes)
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
