package bolt

import (
	"errors"
	"maps"
	"runtime"
	"slices"

	"github.com/seed-55daa01a/lapse/internal/fault"
	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/tree"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// commitLoop writes group after group until quit is closed. While it writes one group, the next
// one gathers: many callers share one sync, and no caller waits for a timer. A value in work makes
// the committer the goroutine that writes groups, until no op has gathered.
func (s *Store) commitLoop() {
	for more := true; more; {
		select {
		case <-s.work:
		case <-s.quit:
			more = false
		}
		for g := s.closeGroup(); g != nil; g = s.closeGroup() {
			s.finish(g, s.commit(g))
			for range yields {
				runtime.Gosched()
			}
		}
	}
}

// yields is how often the committer lets other goroutines run before it closes the next group,
// so that callers of the last group can join the next one: 64 callers issue 1.2 times as many
// tokens that way (row issue-bolt/64 of bench).
const yields = 16

// closeGroup returns the group that has gathered. If the group has no op, closeGroup returns nil,
// and the committer does not write groups any more.
func (s *Store) closeGroup() *group {
	next := newGroup()
	s.turn.Take()
	defer s.turn.Give()
	if len(s.next.ops) == 0 {
		s.busy = false
		return nil
	}
	return s.replaceGroup(next)
}

// replaceGroup returns the group that has gathered, without the ops that were rolled back, to be
// written. From then on next gathers. The caller holds s.turn.
func (s *Store) replaceGroup(next *group) *group {
	g := s.next
	s.next, s.writing = next, g
	g.owed, s.owed = s.owed, nil
	g.disk, g.mark = s.disk, s.marks.Mark()
	g.ops = slices.DeleteFunc(g.ops, func(o *op) bool { return o.rolledBack })
	return g
}

// commitByCaller writes g, whose only op is of the caller. If ops have gathered meanwhile, the
// committer goes on. A caller that has the committer write g wakes a thread and is woken by
// another: the load of row settled-issue/1 of bench issues 1.15 times as many tokens without that.
func (s *Store) commitByCaller(g *group) {
	err := s.commit(g)
	s.turn.Take()
	defer s.turn.Give()
	s.settle(g, err)
	*g = group{done: g.done} // no goroutine waits for g
	s.spare = g
	if s.busy = len(s.next.ops) > 0; s.busy {
		wake(s.work)
	}
}

// commit makes g durable and has the table show it. An error means that nothing of g is or
// will be on the disk, unless it is ErrOutcomeUnknown.
func (s *Store) commit(g *group) error {
	if g.empty() {
		return nil // all ops only wait for earlier groups, which are durable by now
	}
	if err := fault.Classify(g.disk(func() error { return s.write(g) })); err != nil {
		return err
	}
	s.show(g, s.setDurable(g))
	s.marks.Saved(g.mark)
	return nil
}

// setDurable sets g.durable, and reports whether a caller of g has returned before that.
func (s *Store) setDurable(g *group) (left bool) {
	s.turn.Take()
	defer s.turn.Give()
	g.durable = true
	return g.left
}

// show has the table show g, which is durable, and adds g to the journal in the same step: a
// checkpoint sees both or neither. Where a caller has left, the table may show an end of g already,
// and an earlier write of g must not hide the end: then only the last write of each record counts.
func (s *Store) show(g *group, left bool) {
	all := make([][]table.Write, len(g.ops))
	for i, o := range g.ops {
		all[i] = o.writes
	}
	if left {
		all = lastWrites(all)
	}
	s.revealing.Lock()
	defer s.revealing.Unlock()
	s.stage.Reveal(all...)
	s.journal.add(g)
}

// lastWrites returns the last write of each record of all.
func lastWrites(all [][]table.Write) [][]table.Write {
	last := make(map[storage.ID][]table.Write)
	for _, writes := range all {
		for i := range writes {
			last[writes[i].Record.ID] = writes[i : i+1]
		}
	}
	return slices.Collect(maps.Values(last))
}

// encode makes the entries of g. The entries of owed records and of renewals have the records
// as t shows them. short says whether an entry may be shorter than the record.
func (g *group) encode(t *table.Table, short bool) error {
	n := len(g.owed)
	for _, o := range g.ops {
		n += len(o.writes) + len(o.raises)
	}
	g.entries = make([]wire.Entry, 0, n)
	for _, id := range g.owed {
		e, err := tree.EntryOf(t, id)
		if err != nil {
			return err
		}
		g.entries = append(g.entries, e)
	}
	var r storage.Record
	for _, o := range g.ops {
		for i := range o.writes {
			e, err := o.entry(t, i, short)
			if err != nil {
				return err
			}
			g.entries = append(g.entries, e)
		}
		for _, id := range o.raises {
			if t.Get(id, &r) {
				use := storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}
				g.entries = append(g.entries, wire.Entry{Kind: wire.RaiseEntry, ID: id, Use: use})
			}
		}
	}
	return nil
}

// entry returns the entry of write i of o. Where the write only ends a record as t shows it, or raises
// its use, the entry may be a short one. A whole record is about six times as long: the log would be
// full after a sixth as many renewals, and after one end of 100,000 tokens.
func (o *op) entry(t *table.Table, i int, short bool) (wire.Entry, error) {
	r := &o.writes[i].Record
	if o.writes[i].Deletes {
		return wire.Entry{Kind: wire.DeleteEntry, ID: r.ID}, nil
	}
	var shown storage.Record
	if short && o.writes[i].ChangesShown() && t.Get(r.ID, &shown) {
		if e, ok := wire.Ends(&shown, r); ok {
			return e, nil
		}
		if e, ok := wire.Raises(&shown, r); ok {
			return e, nil
		}
	}
	value, err := wire.Encode(nil, r)
	return wire.Entry{Kind: wire.PutEntry, ID: r.ID, Value: value}, err
}

// finish settles g, whose commit returned err, and wakes the callers of its ops.
func (s *Store) finish(g *group, err error) {
	s.turn.Take()
	defer s.turn.Give()
	defer close(g.done)
	s.settle(g, err)
}

// settle unstages g, whose commit returned err, and sets the err of its ops. If err is not nil,
// settle rolls back the ops of g, and those of the next group, which may have read writes that
// failed. The caller holds s.turn.
func (s *Store) settle(g *group, err error) {
	s.writing = nil
	if err != nil || g.durable {
		s.cause = err
	}
	if err != nil {
		for _, o := range g.ops {
			s.fail(o, err)
		}
		s.owed = append(g.owed, s.owed...)
		for _, o := range s.next.ops {
			s.rollback(o, errBefore)
		}
	} else if len(g.ops) > 0 {
		for _, o := range g.ops {
			s.stage.LetGo(o.writes)
			s.unflushed.Add(-int64(len(o.raises)))
		}
		s.tally.writes += len(g.ops)
		s.tally.commits++
	}
	if err != nil || len(s.owed) > 0 || s.table.Unsaved() > 0 {
		wake(s.alarm)
	}
}

// fail rolls back o, which failed with err. If the outcome is unknown, the ends of o count in the
// table, and all records of o are owed: the next group makes the disk agree with the table.
func (s *Store) fail(o *op, err error) {
	if errors.Is(err, storage.ErrOutcomeUnknown) {
		s.deny(o)
		for i := range o.writes {
			s.owed = append(s.owed, o.writes[i].Record.ID)
		}
	}
	s.rollback(o, err)
}
