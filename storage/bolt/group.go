package bolt

import (
	"errors"
	"strconv"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/storage"
)

// op is what one call wants written, all or nothing.
type op struct {
	subject string        // whose records they are; "" where it does not matter
	writes  []table.Write // held until they are durable, then shown
	puts    []entry
	deletes []storage.ID // out of the table by now
	mark    bool         // writes the schema again, so that there is something to commit
	ends    bool         // ends a token, or finishes what must survive like an end
	err     error        // what became of it, once its group is done
	undone  bool         // taken back
	leads   bool         // its caller writes the group

	compacts bool // writes nothing: it compacts the file, and has a group for itself
	next     *log // the compacted file

	one struct { // the memory of an op with one write, as most are
		write [1]table.Write
		put   [1]entry
	}
}

type entry struct {
	id      storage.ID
	value   []byte
	created bool // neither the table nor what was held had it
	flushed bool // the table shows it by now, and called it unsaved
}

// newOp encodes what an update of subject has put.
func newOp(subject string, writes []table.Write) (*op, error) {
	o := &op{subject: subject}
	if len(writes) == 1 {
		o.puts, o.writes = o.one.put[:], o.one.write[:]
	} else {
		o.puts, o.writes = make([]entry, len(writes)), make([]table.Write, len(writes))
	}
	copy(o.writes, writes)
	for i := range o.writes {
		r := &o.writes[i].Record
		value, err := encode(r)
		if err != nil {
			return nil, err
		}
		o.puts[i] = entry{id: r.ID, value: value, created: o.writes[i].Creates()}
		o.ends = o.ends || !r.EndedAt.IsZero()
	}
	return o, nil
}

// apply writes o.
func (o *op) apply(w *writer) error {
	for i := range o.puts {
		if err := w.put(&o.puts[i]); err != nil {
			return err
		}
	}
	for i := range o.deletes {
		if err := w.delete(o.deletes[i][:]); err != nil {
			return err
		}
	}
	if o.mark {
		return w.tokens.Tx().Bucket(metaBucket).Put(schemaKey, []byte(strconv.Itoa(schema)))
	}
	return nil
}

func (o *op) size() int {
	if o.compacts {
		return groupSize
	}
	return len(o.puts) + len(o.deletes)
}

// goesBy reports whether o may have been staged upon what other was to write.
func (o *op) goesBy(other *op) bool { return o.subject != "" && o.subject == other.subject }

// failedAlone reports whether o failed for a reason of its own, which says nothing of
// what waits.
func (o *op) failedAlone() bool {
	var one *opError
	return o.compacts || errors.As(o.err, &one)
}

// group is what one transaction writes.
type group struct {
	ops    []*op
	size   int
	sealed bool          // in the committer's hands
	failed bool          // some op did, or one before it by which somebody may have gone
	done   chan struct{} // closed once every op has its err
}

// waiting returns the ops that have not failed.
func (g *group) waiting() []*op {
	ops := make([]*op, 0, len(g.ops))
	for _, o := range g.ops {
		if o.err == nil {
			ops = append(ops, o)
		}
	}
	return ops
}

// groupSize is how much a group may hold before the next one begins, unless a
// single op holds more: who comes last in it waits for all of it.
const groupSize = 1024

// enqueue has the committer write o. Its caller has the turn.
func (s *Store) enqueue(o *op) *group {
	g := s.join(o)
	ring(s.work)
	return g
}

// join adds o to the last group, or to a new one. Its caller has the turn, and sees to
// it that the group is written.
func (s *Store) join(o *op) *group {
	s.stage.Hold(o.writes)
	var g *group
	if n := len(s.queue); n > 0 && !s.queue[n-1].sealed && s.queue[n-1].size+o.size() <= groupSize {
		g = s.queue[n-1]
	} else {
		g = &group{done: make(chan struct{})}
		s.queue = append(s.queue, g)
	}
	g.ops, g.size = append(g.ops, o), g.size+o.size()
	return g
}
