package table

import (
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/internal/feed"
	"github.com/seed-55daa01a/lapse/storage"
)

// Stage holds the writes of updates back until the table may show them. It is for
// one goroutine at a time, and one besides that reveals: its owner gives turns. The zero
// value is not usable.
type Stage struct {
	table   *Table
	held    map[storage.ID]*Write // the newest of each ID
	created map[string]creations  // by subject: those that are new to the table

	creating int // how many those are

	// Damaged, if it is not nil, reports the IDs whose records cannot be read: they
	// are ErrCorrupt for every update.
	Damaged func(storage.ID) bool

	// Feed is told of what the table shows.
	Feed *feed.Feed

	tx        Tx       // the one that runs, used again and again
	revealing []*Write // memory of Reveal, used again
}

// Write is one Put of an update, or one Delete.
type Write struct {
	Record  storage.Record // of a Delete only its ID and its Subject
	Deletes bool

	seen       storage.Use // what the update saw of the record that the table shows
	limit      time.Time   // and its MaxExpiresAt
	creates    bool
	touchLimit *touchLimit // its own, or the last one that was held when it was put
	older      *Write      // the one of its ID that was held before it, and still is
	next       *Write      // of those that create, and are held, of the subject
}

// creations are the writes of a subject that are held and create, the oldest first.
type creations struct {
	first, last *Write
	n           int
}

func (c *creations) add(w *Write) {
	if c.n == 0 {
		c.first = w
	} else {
		c.last.next = w
	}
	c.last = w
	c.n++
}

// drop removes w, which is there, and mostly the first one.
func (c *creations) drop(w *Write) {
	before := &c.first
	var last *Write
	for *before != w {
		last, before = *before, &(*before).next
	}
	if *before = w.next; c.last == w {
		c.last = last
	}
	w.next = nil
	c.n--
}

// NewStage returns a stage in front of t.
func NewStage(t *Table) *Stage {
	s := &Stage{table: t, held: make(map[storage.ID]*Write), created: make(map[string]creations), Feed: new(feed.Feed)}
	s.tx.stage, s.tx.records, s.tx.keep = s, s.tx.yieldRecords, s.tx.hasWrite
	return s
}

// maxKept is for how many records a stage keeps the memory from one update to the
// next.
const maxKept = 256

// Begin returns the transaction of one update of subject. There is one at a time:
// it ends with the next Begin.
func (s *Stage) Begin(subject string) *Tx {
	t := &s.tx
	if max(cap(t.known), cap(t.writes), cap(t.ids)) > maxKept {
		t.known, t.writes, t.ids = nil, nil, nil
	}
	t.index = nil
	clear(t.writes) // lets go of the strings, and leaves nothing where create puts the next ones
	t.subject, t.known, t.writes, t.staged = subject, t.known[:0], t.writes[:0], false
	return t
}

// Hold puts writes in front of what the table shows, for the updates to come. They
// may be passed to Show, Reveal and LetGo, and must not be used otherwise.
func (s *Stage) Hold(writes []Write) {
	for i := range writes {
		w := &writes[i]
		w.older = s.held[w.Record.ID]
		s.held[w.Record.ID] = w
		if w.creates {
			c := s.created[w.Record.Subject]
			c.add(w)
			s.created[w.Record.Subject] = c
			s.creating++
		}
	}
}

// Show has the table show writes, which are held. What a Touch has raised since an
// update read it stays raised, as if it had come after the update: unless that has
// ended the record, for then it would have changed nothing. What a write deletes is
// gone, whatever a Touch has raised, and a later Touch finds nothing.
func (s *Stage) Show(writes []Write) {
	s.Reveal(writes)
	s.LetGo(writes)
}

// Reveal is Show for writes that are not held, and for those that stay held until LetGo. For
// updates nothing changes while writes are held, so that another goroutine may use the stage
// meanwhile.
func (s *Stage) Reveal(all ...[]Write) {
	s.revealing = s.revealing[:0]
	for _, writes := range all {
		for i := range writes {
			s.revealing = append(s.revealing, &writes[i])
		}
	}
	s.table.putAll(s.revealing)
	for _, w := range s.revealing {
		s.Feed.Tell(w.Record.ID, w.Record.Subject)
	}
	if clear(s.revealing); cap(s.revealing) > 4*maxKept {
		s.revealing = nil
	}
}

// batchLen is how many records putAll puts while it holds the lock, for which readers of a
// subject wait.
const batchLen = 16

// putAll puts the records of writes, and deletes those of Deletes.
func (t *Table) putAll(writes []*Write) {
	for batch := range slices.Chunk(writes, batchLen) {
		t.mu.Lock()
		for _, w := range batch {
			p := t.locate(&w.Record)
			if w.Deletes {
				t.delete(p.id)
			} else {
				t.put(p, &w.Record, w.seen)
			}
			w.touchLimit.markShown()
		}
		t.mu.Unlock()
	}
}

// LetGo undoes Hold: of what is revealed, or must never be. To do it again does nothing.
func (s *Stage) LetGo(writes []Write) {
	for i := range writes {
		w := &writes[i]
		s.unhold(w)
		if !w.creates {
			continue
		}
		w.creates = false // another one may create it by now
		s.creating--
		if c := s.created[w.Record.Subject]; c.n == 1 {
			delete(s.created, w.Record.Subject)
		} else {
			c.drop(w)
			s.created[w.Record.Subject] = c
		}
	}
}

// unhold takes w out of those that are held of its ID, if w is one. Those that were held before w
// stay: the table does not show them yet.
func (s *Stage) unhold(w *Write) {
	above := s.held[w.Record.ID]
	switch {
	case above != w:
		for above != nil && above.older != w {
			above = above.older
		}
		if above != nil {
			above.older = w.older
		}
	case w.older != nil:
		s.held[w.Record.ID] = w.older
	default:
		delete(s.held, w.Record.ID)
	}
	w.older = nil
}

// Created returns how many records are held that are new to the table, those that are
// revealed or deleted since included: no fewer than the table will have more, once it
// shows all that is held.
func (s *Stage) Created() int { return s.creating }

// Records returns how many records the table will have once it shows all that is held.
// It takes the longer the more that is.
func (s *Stage) Records() int {
	t := s.table
	t.mu.Lock() // while it looks, nothing more is revealed
	defer t.mu.Unlock()
	n := t.Len()
	for id, w := range s.held {
		switch _, shown := t.find(t.key(&id)); {
		case w.Deletes && shown != nil:
			n--
		case !w.Deletes && shown == nil:
			n++
		}
	}
	return n
}

// Holds reports whether a write of id is held.
func (s *Stage) Holds(id storage.ID) bool { return s.held[id] != nil }
