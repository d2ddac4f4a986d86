package tree

import (
	"slices"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// EntryOf returns the entry that puts the record of id as t shows it, or deletes it if t shows
// none. It fails for a record that cannot be encoded.
func EntryOf(t *table.Table, id storage.ID) (wire.Entry, error) {
	return entryOf(t, id, new(storage.Record))
}

// entryOf is EntryOf, and uses the memory of r.
func entryOf(t *table.Table, id storage.ID, r *storage.Record) (wire.Entry, error) {
	if !t.Get(id, r) {
		return wire.Entry{Kind: wire.DeleteEntry, ID: id}, nil
	}
	value, err := wire.Encode(nil, r)
	return wire.Entry{Kind: wire.PutEntry, ID: id, Value: value}, err
}

// EntriesOf returns the entries of the records of ids, as EntryOf does, each once and in the order
// of the IDs. It sorts ids.
func EntriesOf(t *table.Table, ids []storage.ID) ([]wire.Entry, error) {
	slices.SortFunc(ids, storage.ID.Compare)
	ids = slices.Compact(ids)
	changes, r := make([]wire.Entry, 0, len(ids)), new(storage.Record)
	for _, id := range ids {
		e, err := entryOf(t, id, r)
		if err != nil {
			return nil, err
		}
		changes = append(changes, e)
	}
	return changes, nil
}

// Combine returns puts and deletes with the same effect as all, one for each record, in the order of
// the IDs, in which bbolt writes them fastest. A raise becomes a part of the put beside it, or, alone,
// a put of the record as t shows it. all has no ends. Combine uses the memory of all.
func Combine(t *table.Table, all []wire.Entry) ([]wire.Entry, error) {
	slices.SortStableFunc(all, func(a, b wire.Entry) int { return a.ID.Compare(b.ID) })
	n := 0
	for i := range all {
		var err error
		switch {
		case n == 0 || all[n-1].ID != all[i].ID:
			n++
		case all[i].Kind == wire.RaiseEntry:
			all[i], err = raised(all[n-1], all[i].Use)
		case all[n-1].Kind == wire.RaiseEntry:
			all[i], err = raised(all[i], all[n-1].Use)
		}
		if err != nil {
			return nil, err
		}
		all[n-1] = all[i]
	}
	all = all[:n]
	for i := range all {
		if all[i].Kind == wire.RaiseEntry {
			var err error
			if all[i], err = EntryOf(t, all[i].ID); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// raised returns e with use applied to the record that e puts, if e is a put.
func raised(e wire.Entry, use storage.Use) (wire.Entry, error) {
	if e.Kind != wire.PutEntry {
		return e, nil
	}
	r, err := wire.Decode(e.ID[:], e.Value)
	if err == nil && use.Raise(&r) {
		e.Value, err = wire.Encode(nil, &r)
	}
	return e, err
}
