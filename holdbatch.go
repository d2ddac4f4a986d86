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
		b := readBatch(ctx, getter, ids, alive)
		states := make([]hold.State, len(ids))
		for i, id := range ids {
			states[i] = m.holdStateBy(id, b.get)
		}
		return states
	}
}

// batch has the answers of several calls of Gets.
type batch struct {
	getter  storage.BatchGetter
	answers map[ID]answer
	alive   func() // called for every pair that Gets yields
}

// answer is what a Get of the record would have returned.
type answer struct {
	rec storage.Record
	err error
}

// readBatch returns the answers for ids and for all tokens above them.
func readBatch(ctx context.Context, getter storage.BatchGetter, ids []ID, alive func()) *batch {
	b := &batch{getter: getter, answers: make(map[ID]answer, len(ids)), alive: alive}
	for wanted := ids; len(wanted) > 0; {
		b.read(ctx, wanted)
		wanted = b.parents(wanted)
	}
	return b
}

// batchGetter returns the store as a BatchGetter, or nil if it is none.
func (m *Manager) batchGetter() storage.BatchGetter {
	if getter, ok := m.store.(storage.BatchGetter); ok && getter.GetsFor(m.store) {
		return getter
	}
	return nil
}

// getterOf returns a function that gets the records of ids and of all tokens above them: those that
// a BatchGetter has read, or else Store.Get.
func (m *Manager) getterOf(ctx context.Context, ids []ID) func(ID) (storage.Record, error) {
	if getter := m.batchGetter(); getter != nil {
		return readBatch(ctx, getter, ids, func() {}).get
	}
	return m.getter(ctx)
}

// get returns the answer for id. holdStateBy calls it instead of Store.Get.
func (b *batch) get(id ID) (storage.Record, error) {
	a := b.answers[id]
	return a.rec, a.err
}

// read sets the answers for ids. An ID that Gets has not yielded is absent if Gets came to its
// end, and otherwise has the error of Gets.
func (b *batch) read(ctx context.Context, ids []ID) {
	for _, id := range ids {
		b.answers[id] = answer{err: storage.ErrNotFound}
	}
	err := b.readUntilError(ctx, ids)
	for _, id := range ids {
		if err != nil && b.answers[id].err == storage.ErrNotFound {
			b.answers[id] = answer{err: err}
		}
	}
}

// readUntilError sets what Gets yields, and returns the error that ended it. A record that was not
// asked for, and an absence that is told as an error, are ErrCorrupt. After these, and after ctx has
// ended, nothing that is missing can be taken for absent.
func (b *batch) readUntilError(ctx context.Context, ids []ID) error {
	for rec, err := range b.getter.Gets(ctx, ids) {
		b.alive()
		_, asked := b.answers[rec.ID]
		switch {
		case absent(err), !asked && (err == nil || damaged(err)):
			return errWrongRecord
		case err != nil && !damaged(err):
			return err
		}
		b.answers[rec.ID] = answer{rec, err}
	}
	return ctx.Err() // a store may end without an error where its context ends
}

// parents returns the IDs of the parents of the records of ids that have not been looked for.
func (b *batch) parents(ids []ID) (above []ID) {
	for _, id := range ids {
		parent := b.answers[id].rec.Parent
		if _, ok := b.answers[parent]; !ok && parent != (ID{}) {
			above = append(above, parent)
		}
	}
	slices.SortFunc(above, ID.Compare)
	return slices.Compact(above)
}
