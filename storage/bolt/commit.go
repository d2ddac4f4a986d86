package bolt

import (
	"errors"
	"maps"
	"runtime"
	"slices"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// commitLoop writes group after group until quit is closed. While it writes one group, the next
// one gathers: many callers share one sync, and no caller waits for a timer.
func (s *Store) commitLoop() {
	for more := true; more; {
		select {
		case <-s.work:
		case <-s.quit:
			more = false
		}
		for g := s.seal(); g != nil; g = s.seal() {
			s.finish(g, s.commit(g))
			for range yields {
				runtime.Gosched()
			}
		}
	}
}

// yields is how often the committer lets others run before it takes the next group, which the
// callers of the last one may join meanwhile: 64 of them issue 1.2 times as many tokens with it
// (row issue-bolt/64 of bench).
const yields = 16

// seal returns the group that has gathered, or nil if it has no ops. A new one gathers from then
// on.
func (s *Store) seal() *group {
	next := newGroup()
	s.turn.Take()
	defer s.turn.Give()
	g := s.next
	if len(g.ops) == 0 {
		return nil
	}
	g.owed, s.owed = s.owed, nil
	s.writing, s.next = g, next
	return g
}

// commit makes g durable and has the table show it. An error means that nothing of g is or
// will be on the disk, unless it is ErrOutcomeUnknown.
func (s *Store) commit(g *group) error {
	w := s.collect(g)
	if err := w.spell(s.table); err != nil || len(w.entries) == 0 && !w.forced {
		return err // nil: all ops only wait for earlier groups, which are durable
	}
	if err := classify(w.disk(func() error { return s.write(w) })); err != nil {
		return err
	}
	if s.markWritten(g) {
		w.shown = lastWrites(w.shown)
	}
	s.show(w)
	s.marks.Saved(w.mark)
	return nil
}

// show has the table show w, which is durable, and the journal note that in the same step: a
// checkpoint sees both or neither.
func (s *Store) show(w *batch) {
	s.revealing.Lock()
	defer s.revealing.Unlock()
	s.stage.Reveal(w.shown...)
	s.journal.show(w)
}

// markWritten notes that g is on the disk, and reports whether a caller of g has returned before.
// Then the table may show an end already that an earlier write of g must not hide.
func (s *Store) markWritten(g *group) (left bool) {
	s.turn.Take()
	defer s.turn.Give()
	g.written = true
	return slices.ContainsFunc(g.ops, func(o *op) bool { return o.gone })
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

// batch is a group on its way to the disk.
type batch struct {
	owed    []storage.ID
	ops     []*op
	entries []wire.Entry // of owed and of ops
	shown   [][]table.Write
	forced  bool // the mark is to be written
	mark    storage.Mark
	number  uint64 // of the group in the log; 0 if it went into the tree

	disk func(write func() error) error // see Store.disk
}

// collect returns a batch of the ops of g that were not taken back. It has no entries yet.
func (s *Store) collect(g *group) *batch {
	s.turn.Take()
	defer s.turn.Give()
	w := &batch{owed: g.owed, mark: s.marks.Mark(), disk: s.disk}
	for _, o := range g.ops {
		if o.out {
			continue
		}
		w.ops, w.forced = append(w.ops, o), w.forced || o.marks
		if len(o.writes) > 0 {
			w.shown = append(w.shown, o.writes)
		}
	}
	return w
}

// spell makes the entries of w. Those of owed records and of renewals say what t shows.
func (w *batch) spell(t *table.Table) error {
	for _, id := range w.owed {
		e, err := shownEntry(t, id)
		if err != nil {
			return err
		}
		w.entries = append(w.entries, e)
	}
	var r storage.Record
	for _, o := range w.ops {
		for i := range o.writes {
			w.entries = append(w.entries, o.entry(t, i))
		}
		for _, id := range o.raises {
			if t.Get(id, &r) {
				use := storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}
				w.entries = append(w.entries, wire.Entry{Kind: wire.RaiseEntry, ID: id, Use: use})
			}
		}
		for _, id := range o.deletes {
			w.entries = append(w.entries, wire.Entry{Kind: wire.DeleteEntry, ID: id})
		}
	}
	return nil
}

// entry returns the entry of the write of o numbered i. Where the write only ends what t shows, its
// entry is short: an end of 100,000 tokens at once would fill the log with their records.
func (o *op) entry(t *table.Table, i int) wire.Entry {
	r := &o.writes[i].Record
	if o.values[i] == nil {
		return wire.Entry{Kind: wire.DeleteEntry, ID: r.ID}
	}
	var shown storage.Record
	if !r.EndedAt.IsZero() && t.Get(r.ID, &shown) {
		if e, ok := wire.Ends(&shown, r); ok {
			e.Value = o.values[i] // for the tree
			return e
		}
	}
	return wire.Entry{Kind: wire.PutEntry, ID: r.ID, Value: o.values[i]}
}

// finish unstages g, whose commit returned err, sets the err of its ops and wakes their callers.
// If err is not nil, finish takes the ops of g and of the next group back.
func (s *Store) finish(g *group, err error) {
	s.turn.Take()
	defer s.turn.Give()
	defer close(g.done)
	s.writing = nil
	if err != nil || g.written {
		s.cause = err
	}
	failed := 0
	for _, o := range g.ops {
		switch {
		case o.out:
			failed++
		case err != nil:
			s.fail(o, err)
			failed++
		default:
			s.stage.LetGo(o.writes)
		}
	}
	s.tally.add(len(g.ops), failed)
	if err != nil {
		s.owed = append(g.owed, s.owed...)
		s.failNext()
		ring(s.alarm)
	}
	if s.table.Unsaved() > 0 || len(s.owed) > 0 {
		ring(s.alarm)
	}
}

// fail takes o back, which failed with err. If the outcome is unknown, what o ends counts as
// ended, and all records of o are owed: the disk has to agree with the table.
func (s *Store) fail(o *op, err error) {
	o.err = err
	if errors.Is(err, storage.ErrOutcomeUnknown) {
		s.deny(o)
		for i := range o.writes {
			s.owed = append(s.owed, o.writes[i].Record.ID)
		}
	}
	s.takeBack(o)
}

// failNext fails all ops of the next group: they may have read writes that failed.
func (s *Store) failNext() {
	for _, o := range s.next.ops {
		if !o.out {
			o.err = errBefore
			s.takeBack(o)
		}
	}
}
