package tree

import (
	"slices"

	"github.com/seed-55daa01a/lapse/internal/table"
	"github.com/seed-55daa01a/lapse/internal/wire"
	"github.com/seed-55daa01a/lapse/storage"
)

// Shown returns the entry that makes the record of id what t shows.
func Shown(t *table.Table, id storage.ID) (wire.Entry, error) {
	var r storage.Record
	if !t.Get(id, &r) {
		return wire.Entry{Kind: wire.DeleteEntry, ID: id}, nil
	}
	value, err := wire.Encode(nil, &r)
	return wire.Entry{Kind: wire.PutEntry, ID: id, Value: value}, err
}

// ShownAll returns what t shows of the records of ids, each once, in the order of the IDs, into
// which it brings ids.
func ShownAll(t *table.Table, ids []storage.ID) ([]wire.Entry, error) {
	slices.SortFunc(ids, storage.ID.Compare)
	ids = slices.Compact(ids)
	changes := make([]wire.Entry, 0, len(ids))
	for _, id := range ids {
		e, err := Shown(t, id)
		if err != nil {
			return nil, err
		}
		changes = append(changes, e)
	}
	return changes, nil
}

// Merge returns the puts and deletes that all leads to, one of each record, in the order of
// the IDs, in which bbolt writes them fastest. A raise that has a value is a put of that. Any other
// raise alone becomes a put of what t shows; beside a put it raises what that puts.
func Merge(t *table.Table, all []wire.Entry) ([]wire.Entry, error) {
	slices.SortStableFunc(all, func(a, b wire.Entry) int { return a.ID.Compare(b.ID) })
	n := 0
	for i := range all {
		var err error
		if all[i].Value != nil {
			all[i].Kind = wire.PutEntry
		}
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
			if all[i], err = Shown(t, all[i].ID); err != nil {
				return nil, err
			}
		}
	}
	return all, nil
}

// raised returns e with use applied to the record that e puts, if e puts one that lives on. e may be
// a raise.
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
