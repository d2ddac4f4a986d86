package memory

import (
	"iter"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// tx reads the store and holds its own writes back until apply. A store has one
// and uses it again, which spares every Update two allocations.
type tx struct {
	store   *Store
	records iter.Seq2[storage.Record, error] // each
	subject string
	puts    []*storage.Record
	at      map[storage.ID]int // where in puts; made only once there are many
	first   [1]*storage.Record // room for puts, since most updates write one record
}

// scanPuts is how many writes are faster to look through than to index.
const scanPuts = 8

func (t *tx) begin(subject string) {
	t.subject, t.puts, t.at, t.first = subject, nil, nil, [1]*storage.Record{}
}

func (t *tx) put(id storage.ID) int {
	if t.at != nil {
		if i, ok := t.at[id]; ok {
			return i
		}
		return -1
	}
	return slices.IndexFunc(t.puts, func(r *storage.Record) bool { return r.ID == id })
}

// find returns the record of id, whosever it is, or nil.
func (t *tx) find(id storage.ID) *storage.Record {
	if i := t.put(id); i >= 0 {
		return t.puts[i]
	}
	return t.store.records[id]
}

func (t *tx) Get(id storage.ID) (storage.Record, error) {
	r := t.find(id)
	if r == nil || r.Subject != t.subject {
		return storage.Record{}, storage.ErrNotFound
	}
	return *r, nil
}

func (t *tx) Put(r storage.Record) error {
	if err := storage.CheckPut(t.subject, t.find(r.ID), r); err != nil {
		return err
	}
	if i := t.put(r.ID); i >= 0 {
		t.puts[i] = &r
		return nil
	}
	if t.puts == nil {
		t.puts = t.first[:0]
	}
	t.puts = append(t.puts, &r)
	if t.at != nil {
		t.at[r.ID] = len(t.puts) - 1
	} else if len(t.puts) > scanPuts {
		t.at = make(map[storage.ID]int)
		for i, r := range t.puts {
			t.at[r.ID] = i
		}
	}
	return nil
}

func (t *tx) Records() iter.Seq2[storage.Record, error] { return t.records }

func (t *tx) each(yield func(storage.Record, error) bool) {
	for _, id := range t.ids() {
		if r := t.find(id); !yield(*r, nil) {
			return
		}
	}
}

// ids returns the subject's IDs in order, those of new records included.
func (t *tx) ids() []storage.ID {
	ids := t.store.index.Subject(t.subject)
	var added []storage.ID
	for _, r := range t.puts {
		if t.store.records[r.ID] == nil {
			added = append(added, r.ID)
		}
	}
	if added == nil {
		return ids
	}
	ids = slices.Concat(ids, added)
	slices.SortFunc(ids, storage.ID.Compare)
	return ids
}

// apply makes every write visible. Its caller holds the lock.
func (t *tx) apply() {
	for _, r := range t.puts {
		t.store.index.Put(t.store.records[r.ID], *r)
		t.store.records[r.ID] = r
	}
}
