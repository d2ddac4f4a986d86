package table

import (
	"iter"
	"slices"

	"github.com/seed-55daa01a/lapse/internal/feed"
	"github.com/seed-55daa01a/lapse/storage"
)

// Stage holds the writes of updates back until the table may show them. It is for
// one goroutine at a time: its owner gives turns. The zero value is not usable.
type Stage struct {
	table   *Table
	held    map[storage.ID]*Write   // the newest of each ID
	created map[string][]storage.ID // by subject: those that the table does not have

	creating int // how many those are

	// Damaged, if it is not nil, reports the IDs whose records cannot be read: they
	// are ErrCorrupt for every update.
	Damaged func(storage.ID) bool

	// Feed is told of what the table shows.
	Feed *feed.Feed

	tx Tx // the one that runs, used again and again
}

// Write is one Put of an update.
type Write struct {
	Record storage.Record

	seen    storage.Use // what the update saw of the record that the table shows
	creates bool
}

// NewStage returns a stage in front of t.
func NewStage(t *Table) *Stage {
	s := &Stage{table: t, held: make(map[storage.ID]*Write), created: make(map[string][]storage.ID), Feed: new(feed.Feed)}
	s.tx.stage, s.tx.records = s, s.tx.each
	return s
}

// keepRoom is for how many records a stage keeps the memory from one update to the
// next.
const keepRoom = 256

// Begin returns the transaction of one update of subject. There is one at a time:
// it ends with the next Begin.
func (s *Stage) Begin(subject string) *Tx {
	t := &s.tx
	if max(cap(t.known), cap(t.writes), cap(t.ids)) > keepRoom {
		t.known, t.writes, t.ids = nil, nil, nil
	}
	t.index = nil
	clear(t.writes) // let go of the strings
	t.subject, t.known, t.writes, t.staged = subject, t.known[:0], t.writes[:0], false
	return t
}

// Hold puts writes in front of what the table shows, for the updates to come. They
// must be used no more but for Show.
func (s *Stage) Hold(writes []Write) {
	for i := range writes {
		w := &writes[i]
		s.held[w.Record.ID] = w
		if w.creates {
			subject := w.Record.Subject
			s.created[subject] = append(s.created[subject], w.Record.ID)
			s.creating++
		}
	}
}

// Show has the table show writes, held or not. What a Touch has raised since an
// update read it stays raised, as if it had come after the update: unless that has
// ended the record, for then it would have changed nothing.
func (s *Stage) Show(writes []Write) {
	for i := range writes {
		w := &writes[i]
		s.table.Put(&w.Record, w.seen)
		s.Feed.Tell(w.Record.ID, w.Record.Subject)
		s.letGo(w)
	}
}

// Drop forgets writes that are held and must not be shown.
func (s *Stage) Drop(writes []Write) {
	for i := range writes {
		s.letGo(&writes[i])
	}
}

func (s *Stage) letGo(w *Write) {
	if s.held[w.Record.ID] == w {
		delete(s.held, w.Record.ID)
	}
	if !w.creates {
		return
	}
	w.creates = false // another one may create it by now
	subject := w.Record.Subject
	ids := s.created[subject]
	at := slices.Index(ids, w.Record.ID)
	switch {
	case at < 0:
		return
	case len(ids) == 1:
		delete(s.created, subject)
	case at == 0: // as ever when the oldest is let go first
		s.created[subject] = ids[1:]
	default:
		s.created[subject] = slices.Delete(ids, at, at+1)
	}
	s.creating--
}

// Created returns how many records are held that the table does not have.
func (s *Stage) Created() int { return s.creating }

// Holds reports whether a write of id is held.
func (s *Stage) Holds(id storage.ID) bool { return s.held[id] != nil }

// Tx is a storage.Tx over the table, what is held in front of it, and what it put
// itself. What it has once read it reads again, whatever a Touch raises meanwhile.
type Tx struct {
	stage   *Stage
	records iter.Seq2[storage.Record, error] // each
	subject string
	known   []known            // what it read or wrote, in ID order, or as it came if there is an index
	index   map[storage.ID]int // the places in known, once keeping the order would cost too much
	writes  []Write
	ids     []storage.ID
	staged  bool // something that it read is not shown yet
}

// Writes returns what the transaction has put. It is the transaction's until the
// next Begin.
func (t *Tx) Writes() []Write { return t.writes }

// Created returns how many records the transaction has created.
func (t *Tx) Created() int {
	n := 0
	for i := range t.writes {
		if t.writes[i].creates {
			n++
		}
	}
	return n
}

// Staged reports whether the transaction has read what is held and not shown yet.
func (t *Tx) Staged() bool { return t.staged }

// Get implements storage.Tx.
func (t *Tx) Get(id storage.ID) (r storage.Record, err error) {
	if _, err := t.read(id, &r); err != nil {
		return storage.Record{}, err
	}
	if r.Subject != t.subject {
		return storage.Record{}, storage.ErrNotFound
	}
	return r, nil
}

// read sets r to the record of id, whosever it is, and returns its place in known.
func (t *Tx) read(id storage.ID, r *storage.Record) (int, error) {
	at, found := t.find(id)
	if found && t.known[at].write >= 0 {
		*r = t.writes[t.known[at].write].Record
		return at, nil
	}
	if w := t.stage.held[id]; w != nil {
		t.staged = true
		*r = w.Record
		t.stage.raise(r, w.seen)
	} else if !t.stage.table.Get(id, r) {
		if t.stage.Damaged != nil && t.stage.Damaged(id) {
			return 0, storage.ErrCorrupt
		}
		return 0, storage.ErrNotFound
	}
	if found {
		r.LastUsedAt, r.ExpiresAt = t.known[at].seen.At, t.known[at].seen.ExpiresAt
		return at, nil
	}
	return t.know(at, known{id: id, write: -1, seen: storage.Use{At: r.LastUsedAt, ExpiresAt: r.ExpiresAt}}), nil
}

// raise applies to r, which is held, what a Touch has raised in the table since the
// update that put r saw it: r will be shown like that.
func (s *Stage) raise(r *storage.Record, seen storage.Use) {
	var shown storage.Record
	if !r.EndedAt.IsZero() || !s.table.Get(r.ID, &shown) {
		return
	}
	if shown.LastUsedAt.After(seen.At) && shown.LastUsedAt.After(r.LastUsedAt) {
		r.LastUsedAt = shown.LastUsedAt
	}
	if shown.ExpiresAt.After(seen.ExpiresAt) && shown.ExpiresAt.After(r.ExpiresAt) {
		r.ExpiresAt = shown.ExpiresAt
	}
}

// Put implements storage.Tx.
func (t *Tx) Put(r storage.Record) error {
	var old storage.Record
	at, err := t.read(r.ID, &old)
	switch {
	case err == storage.ErrNotFound:
		return t.create(&r)
	case err != nil:
		return err
	}
	if err := storage.CheckPut(t.subject, &old, r); err != nil {
		return err
	}
	k := &t.known[at]
	if k.write < 0 {
		k.write = len(t.writes)
		t.writes = append(t.writes, Write{seen: k.seen})
	}
	t.writes[k.write].Record = r
	return nil
}

func (t *Tx) create(r *storage.Record) error {
	if r.Subject != t.subject { // a call copies the record
		return storage.CheckPut(t.subject, nil, *r)
	}
	at, _ := t.find(r.ID)
	n := len(t.writes)
	t.know(at, known{id: r.ID, write: n})
	t.writes = append(t.writes, Write{creates: true})
	t.writes[n].Record = *r
	return nil
}

// Raise applies use to the record of id, whosever it is, if there is one, and returns
// whose it is.
func (t *Tx) Raise(id storage.ID, use storage.Use) (subject string, err error) {
	var r storage.Record
	_, err = t.read(id, &r)
	if err == storage.ErrNotFound {
		return "", nil
	}
	if err == nil && use.Raise(&r) {
		t.subject = r.Subject
		err = t.Put(r)
	}
	return r.Subject, err
}

// Records implements storage.Tx.
func (t *Tx) Records() iter.Seq2[storage.Record, error] { return t.records }

func (t *Tx) each(yield func(storage.Record, error) bool) {
	var r storage.Record
	ids := t.all()
	defer func() { t.ids = ids }()
	for _, id := range ids {
		if _, err := t.read(id, &r); err == nil && !yield(r, nil) {
			return
		}
	}
}

// all returns the subject's IDs in order, those that are held or were created here
// included.
func (t *Tx) all() []storage.ID {
	ids := t.ids[:0]
	t.ids = nil // the loop body may ask for all of them, too
	ids = t.stage.table.Subject(ids, t.subject)
	shown := len(ids)
	if len(t.stage.created) > 0 {
		ids = append(ids, t.stage.created[t.subject]...)
	}
	for i := range t.writes {
		if w := &t.writes[i]; w.creates {
			ids = append(ids, w.Record.ID)
		}
	}
	if len(ids) > shown {
		slices.SortFunc(ids, storage.ID.Compare)
		ids = slices.Compact(ids)
	}
	return ids
}
