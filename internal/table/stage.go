package table

import (
	"slices"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/feed"
)

// Stage holds the writes of updates back until the table may show them. Later updates see the held
// writes; readers of the table do not. One goroutine at a time may use a Stage, and one other
// goroutine may call Reveal meanwhile. The zero value is not usable.
type Stage struct {
	table   *Table
	held    map[storage.ID]*Write // the newest held write of each ID
	created map[string]creations  // by subject: the held writes of records that are new to the table

	creating int // how many writes are in created

	// Damaged reports whether the record of an ID cannot be read. Such a record is ErrCorrupt for
	// every update. nil means that no record is damaged.
	Damaged func(storage.ID) bool

	// Feed is told of each record that the table shows or deletes. storage/memory has its watchers
	// here. storage/bolt has a feed of its own, since its committer must not wake a watcher.
	Feed *feed.Feed

	tx        Tx       // the transaction that runs; each Begin uses it again
	revealing []*Write // buffer of Reveal
}

// Write is one Put of an update, or one Delete.
type Write struct {
	Record  storage.Record // a Delete has only the ID and the Subject
	Deletes bool

	seen       storage.Use // LastUsedAt and ExpiresAt of the record, as the update read them
	limit      time.Time   // MaxExpiresAt of the record, as the update read it
	creates    bool
	touchLimit *touchLimit // the limit that this write sets, or else that of the older held writes
	older      *Write      // the next older held write of the same ID
	next       *Write      // the next newer held write that creates a record of the subject
}

// ChangesShown reports whether w, which is held, changes a record as the table shows it: w does not
// create the record, and no older write of the record is held.
func (w *Write) ChangesShown() bool { return !w.creates && w.older == nil }

// creations are the held writes that create records of one subject, the oldest first.
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

// drop removes w, which is in the list, and mostly the first of it.
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

// maxKept is the number of records up to which a stage keeps its buffers from one update to the
// next.
const maxKept = 256

// Begin returns the transaction of one update of subject. There is one transaction at a time, and
// the next Begin ends it.
func (s *Stage) Begin(subject string) *Tx {
	t := &s.tx
	if max(cap(t.known), cap(t.writes), cap(t.ids)) > maxKept {
		t.known, t.writes, t.ids = nil, nil, nil
	}
	t.index = nil
	clear(t.writes) // frees the strings, and create relies on zero values
	t.subject, t.known, t.writes, t.staged = subject, t.known[:0], t.writes[:0], false
	return t
}

// Hold stages writes: updates that begin later see them, and the table does not show them. The
// caller may pass the writes to Show, Reveal and LetGo, and must not use them otherwise.
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

// Show has the table show writes that are held, and releases them. A field that a Touch has raised
// since the update read it stays raised, as if the Touch had come after the update. If the update
// has ended the record, the Touch is dropped, for then it would have changed nothing. A record that
// a write deletes is gone, whatever a Touch has raised, and a later Touch finds no record.
func (s *Stage) Show(writes []Write) {
	s.Reveal(writes)
	s.LetGo(writes)
}

// Reveal has the table show writes that are not held, or that stay held until LetGo. Updates see no
// difference while the writes are held, so that another goroutine may use the stage during Reveal.
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

// batchLen is how many writes putAll applies while it holds the lock. Readers of a subject wait for
// the lock.
const batchLen = 16

// putAll applies writes: it puts their records, and deletes those of a Delete.
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

// LetGo releases held writes that the table shows, or must never show. A second call with the same
// writes does nothing.
func (s *Stage) LetGo(writes []Write) {
	for i := range writes {
		w := &writes[i]
		s.unhold(w)
		if !w.creates {
			continue
		}
		w.creates = false // another write may create the same record by now
		s.creating--
		if c := s.created[w.Record.Subject]; c.n == 1 {
			delete(s.created, w.Record.Subject)
		} else {
			c.drop(w)
			s.created[w.Record.Subject] = c
		}
	}
}

// unhold removes w from the held writes of its ID, if it is among them. Older ones stay held: the
// table does not show them yet.
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

// Created returns how many held writes create a record, those included that the table shows already
// or whose record was deleted since. It is an upper bound of the number of records that the table
// will gain when it shows all held writes.
func (s *Stage) Created() int { return s.creating }

// Records returns how many records the table will have when it shows all held writes. Its time
// grows with the number of held writes.
func (s *Stage) Records() int {
	t := s.table
	t.mu.Lock() // Reveal waits while this counts
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
