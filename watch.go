package lapse

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"maps"
	"slices"

	"github.com/seed-55daa01a/lapse/internal/bearer"
	"github.com/seed-55daa01a/lapse/storage"
)

// Change is what Watch yields: a token that was stored, changed or deleted, or a Gap.
type Change struct {
	// Token is the token as it is in the store now. Of a Deleted token it has the ID and the Subject
	// alone. Of a Gap it is the zero Token.
	Token Token

	Deleted bool // there is no such record any more
	Gap     bool // any token may have changed: read again what was read before
}

// Watch yields a Change for each token of which a verb writes the record from now on, by any Manager
// of the store, if q selects it: q may have a Subject, a Prefix and a Name. Each token is read once
// more, and comes as it is by then. It may come more than once, and in any order. The first Change is
// a Gap, and so is one that stands for changes that were missed: List again then. A deletion is told
// whatever Prefix and Name the token had.
//
// These need not make a Change: a token that runs out, a use of a token without a budget, the renewal
// by that use, a new epoch of the clock, and a record that Sweep deletes. On a store that several
// processes share a new token need not make one either, nor a renewal.
//
// The loop ends when its body stops it, or when ctx ends or the store is closed: the last pair then
// has the error of ctx, or ErrClosed. The loop body may call any verb. However slow it is, no writer
// waits for it.
//
// An error that wraps ErrCorrupt stands for one damaged record, or one above it, and the loop goes
// on. Any other error is the last pair: ErrInvalidQuery; one that wraps errors.ErrUnsupported if the
// store is no storage.Watcher; or the store's, after which List and a new Watch go on.
func (m *Manager) Watch(ctx context.Context, q Query) iter.Seq2[Change, error] {
	return func(yield func(Change, error) bool) {
		var first error
		verb := m.begin(VerbWatch, &first)
		defer m.finish(ctx, &verb, &first)
		first = m.watch(ctx, &verb, &q, yield)
	}
}

// watch is the loop of Watch. It returns the first error that it has yielded.
func (m *Manager) watch(ctx context.Context, verb *call, q *Query, yield func(Change, error) bool) (first error) {
	watcher, err := m.watcher(ctx, verb, q)
	if err != nil {
		yield(Change{}, err)
		return err
	}
	for c, err := range watcher.Watch(ctx) {
		if err == nil && c.AsOf != 0 {
			continue // a proof of what was told, and no change
		}
		change, selected, err := m.change(ctx, q, c, err)
		if !selected {
			continue
		}
		first = cmp.Or(first, err)
		if err != nil && !errors.Is(err, ErrCorrupt) {
			yield(Change{}, err)
			break
		}
		if !yield(change, err) {
			break
		}
	}
	return first
}

// watcher returns the store as a Watcher, or the error with which a Watch of q cannot begin.
func (m *Manager) watcher(ctx context.Context, verb *call, q *Query) (storage.Watcher, error) {
	if err := q.checkFields(); err != nil {
		return nil, err
	}
	if q.paged() || q.Live || q.Within != 0 {
		return nil, invalidQuery("Live, Within, After, Limit, Next", "Watch takes Subject, Prefix and Name alone; leave the others out")
	}
	if err := m.ready(ctx, verb); err != nil {
		return nil, err
	}
	watcher, ok := m.store.(storage.Watcher)
	if !ok {
		return nil, fmt.Errorf("lapse: %s: the store is no storage.Watcher; call List from time to time: %w", VerbWatch, errors.ErrUnsupported)
	}
	return watcher, nil
}

// change returns the Change of c, which the store told with err, and whether q selects it. An error
// is selected, too.
func (m *Manager) change(ctx context.Context, q *Query, c storage.Change, err error) (change Change, selected bool, _ error) {
	switch {
	case err != nil:
		return Change{}, true, storeError(VerbWatch, err)
	case c.Gap:
		return Change{Gap: true}, true, nil
	case bearer.IsAlias(c.ID), q.Subject != "" && q.Subject != c.Subject:
		return Change{}, false, nil
	}
	rec, err := m.record(ctx, c.ID)
	switch {
	case errors.Is(err, errGone):
		return Change{Token: Token{ID: c.ID, Subject: c.Subject}, Deleted: true}, true, nil
	case err == nil && !q.matches(&rec):
		return Change{}, false, nil
	}
	rec.ID = c.ID
	err = m.listed(VerbWatch, &rec, err, m.getter(ctx))
	return Change{Token: rec.Token}, true, err
}

// Held is a token by which connections of a Manager are held.
type Held struct {
	Token       Token // as it is in the store now
	Connections int   // how many the Manager holds by it
}

// Holds yields each token by which this Manager holds connections, in the order of their IDs, with
// the number of these connections as the loop begins. Connections of other Managers, also of the
// same store, are not among them. The tokens are read from the store while the loop runs, as List
// reads them. The loop leaves out a token whose record is gone: its connections are about to be cut.
// The loop body may call any verb.
//
// An error that wraps ErrCorrupt stands for one token whose record is damaged, or one above it: the
// Token has the ID alone, and the loop goes on. Any other error is the last pair, and the store's.
func (m *Manager) Holds(ctx context.Context) iter.Seq2[Held, error] {
	return func(yield func(Held, error) bool) {
		var first error
		verb := m.begin(VerbHolds, &first)
		defer m.finish(ctx, &verb, &first)
		first = m.yieldHolds(ctx, &verb, yield)
	}
}

// yieldHolds is the loop of Holds. It returns the first error that it has yielded.
func (m *Manager) yieldHolds(ctx context.Context, verb *call, yield func(Held, error) bool) (first error) {
	if err := m.ready(ctx, verb); err != nil {
		yield(Held{}, err)
		return err
	}
	conns := m.holds.Connections()
	for ids := range slices.Chunk(slices.SortedFunc(maps.Keys(conns), ID.Compare), pageSize) {
		get := m.getterOf(ctx, ids)
		for _, id := range ids {
			held, err := m.held(id, get)
			if errors.Is(err, errGone) {
				continue
			}
			held.Connections = conns[id]
			first = cmp.Or(first, err)
			if err != nil && !errors.Is(err, ErrCorrupt) {
				yield(Held{}, err)
				return first
			}
			if !yield(held, err) {
				return first
			}
		}
	}
	return first
}

// held returns the token of id by the records that get returns. The error is errGone if there is no
// record.
func (m *Manager) held(id ID, get func(ID) (storage.Record, error)) (h Held, err error) {
	rec, err := get(id)
	if err = ofID(id, &rec, err); errors.Is(err, errGone) {
		return h, err
	}
	rec.ID = id
	err = m.listed(VerbHolds, &rec, err, get)
	return Held{Token: rec.Token}, err
}
