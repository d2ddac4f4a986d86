package bolt

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// op holds the writes of one call, all or nothing. An op without writes waits until all writes
// that its call has read are durable.
type op struct {
	group     *group        // with which the op is written
	byCaller  bool          // its caller writes the group, which has no other op
	subject   string        // whose records they are; "" for several subjects
	writes    []table.Write // held in the stage until they are durable, then shown by the table
	raises    []storage.ID  // records with a renewal that the table shows and the disk does not have
	forceMark bool          // the mark is written, even if nothing else is

	denied []table.Write // writes that the table shows although their outcome is unknown

	rolledBack bool  // it is not written with its group
	err        error // its outcome, once its group is done
}

// check returns an error for a record of o that cannot be stored.
func (o *op) check() error {
	for i := range o.writes {
		if w := &o.writes[i]; !w.Deletes {
			if err := wire.Check(&w.Record); err != nil {
				return err
			}
		}
	}
	return nil
}

// ends reports whether write i of o ends something that the table shows: it ends or suspends a
// token, deletes a record, or replaces a secret at once (S28).
func (o *op) ends(t *table.Table, i int) bool {
	w := &o.writes[i]
	if w.Deletes || !w.Record.EndedAt.IsZero() {
		return true
	}
	var shown storage.Record
	if !t.Get(w.Record.ID, &shown) {
		return false
	}
	return w.Record.PreviousUntil.IsZero() && !shown.Digest.Equal(w.Record.Digest) ||
		shown.SuspendedAt.IsZero() && !w.Record.SuspendedAt.IsZero()
}

// group is the ops that are written together.
type group struct {
	ops  []*op
	owed []storage.ID  // taken from Store.owed; written before ops
	done chan struct{} // closed once every op has its err

	disk    func(write func() error) error // see Store.disk
	mark    storage.Mark                   // at the moment the group is closed
	entries []wire.Entry                   // of owed and of ops, once these are being written
	number  uint64                         // in the log; 0 if the group went into the tree

	durable bool // its entries are durable
	left    bool // a caller has returned while the entries were being written
}

// empty reports whether g has nothing to write.
func (g *group) empty() bool {
	for _, o := range g.ops {
		if len(o.writes)+len(o.raises) > 0 || o.forceMark {
			return false
		}
	}
	return len(g.owed) == 0
}

// newGroup makes a group. Open makes the first two and the committer all others: a channel that
// is made inside a bubble of testing/synctest cannot be closed by a goroutine outside.
func newGroup() *group { return &group{done: make(chan struct{})} }

// enqueue adds o to the group that gathers and returns o. The caller holds s.turn, and then calls
// await with ctx. If no goroutine writes groups, the committer begins to, or, where ctx cannot end,
// the caller: while a caller writes, it could not leave at the end of ctx.
func (s *Store) enqueue(ctx context.Context, o *op) *op {
	s.stage.Hold(o.writes)
	o.group = s.next
	o.group.ops = append(o.group.ops, o)
	if s.busy {
		return o
	}
	s.busy = true
	if o.byCaller = ctx.Done() == nil; o.byCaller {
		s.replaceGroup(s.spare)
	} else {
		wake(s.work)
	}
	return o
}

// await waits for o and returns its error. If ctx ends earlier, await rolls o back. If the group
// of o is being written by then, the error is ErrOutcomeUnknown.
func (s *Store) await(ctx context.Context, o *op) error {
	if o.byCaller {
		s.commitByCaller(o.group)
		s.tell(o, o.err)
		return o.err
	}
	select {
	case <-o.group.done:
	case <-ctx.Done():
		if err := s.leave(o, ctx.Err()); err != nil {
			return err
		}
		<-o.group.done // soon: the disk has answered
	}
	s.tell(o, o.err)
	return o.err
}

// tell tells the feed which records of o the table shows. err is the error of o. The goroutine
// of the call, or a goroutine that it has started, calls tell, and not the committer: a goroutine
// outside may not wake a watcher in a bubble of testing/synctest.
func (s *Store) tell(o *op, err error) {
	told := o.denied
	if err == nil {
		told = o.writes
	}
	for i := range told {
		s.feed.Tell(told[i].Record.ID, told[i].Record.Subject)
	}
}

// leave gives up waiting for o because of cause. It returns cause if nothing of o is or will be
// written, ErrOutcomeUnknown if the group of o is being written, and nil if the group is durable
// or has failed.
func (s *Store) leave(o *op, cause error) error {
	s.turn.Take()
	defer s.turn.Give()
	switch g := o.group; {
	case g == s.next:
		s.withdraw(o)
		return cause
	case g != s.writing || g.durable:
		return nil
	case len(o.writes)+len(o.raises) == 0:
		return cause
	}
	o.group.left = true
	s.deny(o)
	s.tell(o, storage.ErrOutcomeUnknown)
	go func() {
		<-o.group.done
		s.tell(o, o.err)
	}()
	return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, cause)
}

// withdraw rolls back o, whose group still gathers. It also rolls back the later ops of the same
// subject in the group, which may have read the writes of o.
func (s *Store) withdraw(o *op) {
	if o.rolledBack {
		return
	}
	for _, later := range s.next.ops[slices.Index(s.next.ops, o)+1:] {
		if len(o.writes) > 0 && later.subject == o.subject {
			s.rollback(later, errBefore)
		}
	}
	s.rollback(o, nil)
}

// errBefore is the error of an op that may rely on an earlier op which was not written.
var errBefore = fmt.Errorf("%w: what was to be written just before could not be; try again", storage.ErrUnavailable)

// rollback unstages o and sets its error to err, unless o was rolled back before. The renewals of
// o are unsaved again.
func (s *Store) rollback(o *op, err error) {
	if o.rolledBack {
		return
	}
	o.rolledBack, o.err = true, err
	s.tally.writes++
	s.tally.failed++
	s.stage.LetGo(o.writes)
	s.unsave(o.raises)
}

// deny has the table show the writes of o that end something, although it is unknown whether
// these are on the disk. Their records are owed.
func (s *Store) deny(o *op) {
	s.revealing.Lock()
	defer s.revealing.Unlock()
	for i := range o.writes {
		if o.ends(s.table, i) {
			s.stage.Reveal(o.writes[i : i+1])
			o.denied = append(o.denied, o.writes[i])
			s.owed = append(s.owed, o.writes[i].Record.ID)
		}
	}
}
