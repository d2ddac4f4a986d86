package bolt

import (
	"context"
	"fmt"
	"slices"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// op holds the writes of one call, all or nothing. An op that is empty waits until all
// that its call has read is durable.
type op struct {
	subject string        // whose records they are; "" for several subjects
	writes  []table.Write // held in the stage until they are durable, then shown by the table
	values  [][]byte      // the encoded record of each write; nil deletes the record
	raises  []storage.ID  // renewals that the table shows and the disk does not have
	deletes []storage.ID  // swept: the table does not show them any more
	marks   bool          // the mark is written, even if nothing else is

	denied []int // indexes of the writes that the table shows although their outcome is unknown

	gone bool  // its caller has returned before it was durable
	out  bool  // taken back: it is not written with its group
	err  error // what became of it, once its group is done

	one struct { // memory of an op with one write, as most have
		write [1]table.Write
		value [1][]byte
		bytes [oneValue]byte
	}
}

// oneValue is a number of bytes that most encoded records do not exceed.
const oneValue = 256

// put fills o, which is new, with the writes of one update of subject. The error is that of a
// record that cannot be stored.
func (o *op) put(subject string, writes []table.Write) error {
	var memory []byte
	if o.subject = subject; len(writes) == 1 {
		o.writes, o.values, memory = o.one.write[:], o.one.value[:], o.one.bytes[:0]
	} else {
		o.writes, o.values = make([]table.Write, len(writes)), make([][]byte, len(writes))
	}
	copy(o.writes, writes)
	for i := range o.writes {
		if o.writes[i].Deletes {
			o.values[i] = nil
			continue
		}
		if cap(memory) < oneValue {
			memory = make([]byte, 0, min(len(writes)-i, manyValues)*oneValue)
		}
		value, err := wire.Encode(memory, &o.writes[i].Record)
		if err != nil {
			return err
		}
		o.values[i] = value[:len(value):len(value)]
		memory = value[len(value):]
	}
	return nil
}

// manyValues is the largest number of values for which put allocates memory at once.
const manyValues = 256

// ends reports whether write i of o takes something away that the table shows: a token that it
// ends, a record that it deletes, or a secret that it replaces at once (S28).
func (o *op) ends(t *table.Table, i int) bool {
	w := &o.writes[i]
	if w.Deletes || !w.Record.EndedAt.IsZero() {
		return true
	}
	var shown storage.Record
	return w.Record.PreviousUntil.IsZero() && t.Get(w.Record.ID, &shown) && !shown.Digest.Equal(w.Record.Digest)
}

// empty reports whether o has no records to write.
func (o *op) empty() bool { return len(o.writes)+len(o.raises)+len(o.deletes) == 0 }

// group is the ops that are written together.
type group struct {
	ops     []*op
	owed    []storage.ID  // taken from Store.owed; written before ops
	written bool          // its entries are durable
	done    chan struct{} // closed once every op has its err
}

// newGroup makes a group. The committer makes all but the first: a channel that is made inside
// a bubble of testing/synctest could not be closed by a goroutine outside.
func newGroup() *group { return &group{done: make(chan struct{})} }

// enqueue adds o to the group that gathers and returns that. Its caller has the turn.
func (s *Store) enqueue(o *op) *group {
	s.stage.Hold(o.writes)
	s.next.ops = append(s.next.ops, o)
	ring(s.work)
	return s.next
}

// await returns what became of o, which is in g. A context that ends earlier takes o out of
// its group, or, where that is being written, leaves the outcome unknown.
func (s *Store) await(ctx context.Context, g *group, o *op) error {
	select {
	case <-g.done:
		s.tell(o, o.err)
		return o.err
	case <-ctx.Done():
	}
	switch s.leave(g, o) {
	case withdrawn:
		return ctx.Err()
	case beingWritten:
		go func() {
			<-g.done
			s.tell(o, o.err)
		}()
		return fmt.Errorf("%w: %w", storage.ErrOutcomeUnknown, ctx.Err())
	}
	<-g.done // soon: the rest is done in memory
	s.tell(o, o.err)
	return o.err
}

// tell tells the feed which records the table shows by o, whose error is err. A goroutine of the
// caller of o calls it: no other goroutine may wake a watcher in a bubble of testing/synctest.
func (s *Store) tell(o *op, err error) {
	if err == nil {
		for i := range o.writes {
			s.feed.Tell(o.writes[i].Record.ID, o.writes[i].Record.Subject)
		}
		return
	}
	for _, i := range o.denied {
		s.feed.Tell(o.writes[i].Record.ID, o.writes[i].Record.Subject)
	}
}

// What has become of an op whose caller returns early.
const (
	written = iota
	beingWritten
	withdrawn
)

// leave gives up waiting for o, which is in g. It returns written if g is durable or failed,
// beingWritten if o is on its way to the disk, and withdrawn if nothing of o is or will be
// written.
func (s *Store) leave(g *group, o *op) int {
	s.turn.Take()
	defer s.turn.Give()
	switch {
	case g == s.next:
		s.withdraw(g, o)
		return withdrawn
	case g == s.writing && o.empty():
		return withdrawn
	case g == s.writing && !g.written:
		o.gone = true
		s.deny(o)
		s.tell(o, storage.ErrOutcomeUnknown)
		return beingWritten
	}
	return written
}

// withdraw takes o back, whose group g still gathers, and with o the later ops of the same
// subject in g, which may have read the writes of o.
func (s *Store) withdraw(g *group, o *op) {
	at := slices.Index(g.ops, o)
	if at < 0 || o.out {
		return
	}
	s.takeBack(o)
	for _, later := range g.ops[at+1:] {
		if len(o.writes) > 0 && !later.out && later.subject == o.subject {
			later.err = errBefore
			s.takeBack(later)
		}
	}
}

// errBefore is the error of an op that may rely on an earlier one which was not written.
var errBefore = fmt.Errorf("%w: what was to be written just before could not be; try again", storage.ErrUnavailable)

// takeBack undoes the staging of o, once. Its renewals are unsaved again, and its deletions, which
// the table shows already, are owed.
func (s *Store) takeBack(o *op) {
	if o.out {
		return
	}
	o.out = true
	s.stage.LetGo(o.writes)
	s.owed = append(s.owed, o.deletes...)
	for _, id := range o.raises {
		s.table.MarkUnsaved(id)
	}
}

// deny has the table show those writes of o that end something, although it is unknown whether
// they are on the disk. Their records are owed.
func (s *Store) deny(o *op) {
	for i := range o.writes {
		if o.ends(s.table, i) {
			s.reveal(o.writes[i : i+1])
			o.denied = append(o.denied, i)
			s.owed = append(s.owed, o.writes[i].Record.ID)
		}
	}
}

// reveal has the table show writes.
func (s *Store) reveal(writes ...[]table.Write) {
	s.revealing.Lock()
	defer s.revealing.Unlock()
	s.stage.Reveal(writes...)
}
