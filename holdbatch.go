package lapse

import (
	"context"
	"slices"

	"github.com/seed-55daa01a/lapse/internal/hold"
	"github.com/seed-55daa01a/lapse/storage"
)

// holdStates returns holdState for many tokens at once, as getter reads them. The tokens above
// delegates are read together, too: one call of Gets for each level of delegation.
func (m *Manager) holdStates(getter storage.BatchGetter) func(ctx context.Context, ids []ID, alive func()) []hold.State {
	return func(ctx context.Context, ids []ID, alive func()) []hold.State {
		b := batch{getter: getter, found: make(map[ID]found, len(ids)), alive: alive}
		for wanted := ids; len(wanted) > 0; {
			b.read(ctx, wanted)
			wanted = b.parents(wanted)
		}
		states := make([]hold.State, len(ids))
		for i, id := range ids {
			states[i] = m.holdStateBy(id, b.get)
		}
		return states
	}
}

// batch is what several calls of Gets have found.
type batch struct {
	getter storage.BatchGetter
	found  map[ID]found
	alive  func() // called for every answer
}

// found is what a Get of the record would have returned.
type found struct {
	rec storage.Record
	err error
}

// get returns what was found of id. It is a Get of the store.
func (b *batch) get(id ID) (storage.Record, error) {
	f := b.found[id]
	return f.rec, f.err
}

// read finds the records of ids. An ID that Gets has not yielded is absent if Gets came to its
// end, and otherwise has the error of Gets.
func (b *batch) read(ctx context.Context, ids []ID) {
	for _, id := range ids {
		b.found[id] = found{err: storage.ErrNotFound}
	}
	err := b.readUntilError(ctx, ids)
	for _, id := range ids {
		if err != nil && b.found[id].err == storage.ErrNotFound {
			b.found[id] = found{err: err}
		}
	}
}

// readUntilError sets what Gets yields, and returns the error that ended it. A record that was not
// asked for, and an absence that is told as an error, are ErrCorrupt: after these nothing that is
// missing can be taken for absent.
func (b *batch) readUntilError(ctx context.Context, ids []ID) error {
	for rec, err := range b.getter.Gets(ctx, ids) {
		b.alive()
		_, asked := b.found[rec.ID]
		switch {
		case absent(err), !asked && (err == nil || damaged(err)):
			return errWrongRecord
		case err != nil && !damaged(err):
			return err
		}
		b.found[rec.ID] = found{rec, err}
	}
	return nil
}

// parents returns the IDs of the parents of the records of ids that have not been looked for.
func (b *batch) parents(ids []ID) (above []ID) {
	for _, id := range ids {
		parent := b.found[id].rec.Parent
		if _, ok := b.found[parent]; !ok && parent != (ID{}) {
			above = append(above, parent)
		}
	}
	slices.SortFunc(above, ID.Compare)
	return slices.Compact(above)
}
