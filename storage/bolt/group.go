package bolt

import (
	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/storage"
)

// op is what one call wants written, all or nothing.
type op struct {
	subject string        // whose records they are; "" where it does not matter
	writes  []table.Write // held until they are durable, then shown
	puts    []entry
	deletes []storage.ID // swept: out of the table by now
	err     error        // what became of it, once its group is done
	undone  bool         // taken back
	leads   bool         // its caller writes the group

	alone func(*log) (next *log, err error) // instead of all that; it has a group for itself
	next  *log                              // what the file is from then on, if it was replaced

	one struct { // the memory of an op with one write, as most are
		write [1]table.Write
		put   [1]entry
		value [oneValue]byte
	}
}

// oneValue is how long most encoded records are at most.
const oneValue = 256

// entry is one record to be written.
type entry struct {
	id      storage.ID
	value   []byte // nil: it is deleted
	flushed bool   // the table shows it by now, and called it unsaved
	denied  bool   // the table shows it by now, although its outcome is unknown
}

// put has o, which is new, write what an update of subject has put and deleted.
func (o *op) put(subject string, writes []table.Write) error {
	var memory []byte
	if o.subject = subject; len(writes) == 1 {
		o.puts, o.writes, memory = o.one.put[:], o.one.write[:], o.one.value[:0]
	} else {
		o.puts, o.writes = make([]entry, len(writes)), make([]table.Write, len(writes))
	}
	copy(o.writes, writes)
	for i := range o.writes {
		r := &o.writes[i].Record
		if o.writes[i].Deletes {
			o.puts[i] = entry{id: r.ID}
			continue
		}
		if cap(memory) < oneValue {
			memory = make([]byte, 0, min(len(writes)-i, manyValues)*oneValue)
		}
		value, err := encodeIn(memory, r)
		if err != nil {
			return err
		}
		o.puts[i] = entry{id: r.ID, value: value[:len(value):len(value)]}
		memory = value[len(value):]
	}
	return nil
}

// manyValues is for how many values memory is made at once.
const manyValues = 256

// size returns how many records o changes.
func (o *op) size() int { return len(o.puts) + len(o.deletes) }

// bytes returns how much of a frame o takes.
func (o *op) bytes() int {
	n := entryHeader * o.size()
	for i := range o.puts {
		n += len(o.puts[i].value)
	}
	return n
}

// group is what is written as one frame.
type group struct {
	ops    []*op
	bytes  int           // how much of a frame they take
	sealed bool          // in the committer's hands
	failed bool          // it could not be written, or one before it by which somebody may have gone
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

// groupBytes is how much of a frame a group may take before the next one begins, unless a
// single op takes more: who comes last in it waits for all of it.
const groupBytes = 192 << 10

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
	bytes := o.bytes()
	if o.alone != nil {
		bytes = groupBytes
	}
	g := s.newest()
	if g == nil || g.sealed || g.bytes+bytes > groupBytes {
		g = &group{done: make(chan struct{})}
		s.queue = append(s.queue, g)
	}
	g.ops, g.bytes = append(g.ops, o), g.bytes+bytes
	return g
}
