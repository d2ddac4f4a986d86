package bolt

import (
	"context"
	"errors"
	"iter"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// Update implements storage.Store. Updates run one at a time, whatever their
// subject.
func (s *Store) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	t := &tx{store: s, subject: subject}
	return s.write(ctx, func(tokens *tokens) error {
		t.tokens = tokens
		return fn(t)
	}, t.file)
}

// Touch implements storage.Store. It is on disk before it returns.
func (s *Store) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	return s.write(ctx, func(tokens *tokens) error {
		r, err := tokens.get(id)
		if errors.Is(err, storage.ErrNotFound) {
			return nil
		}
		if err != nil || !use.Raise(&r) {
			return err
		}
		return tokens.put(&r)
	}, func(error) {}) // the index knows lower bounds, which a renewal leaves true
}

// tx is one subject's part of a write transaction.
type tx struct {
	store   *Store
	tokens  *tokens
	subject string
	changes []change
}

// change is what the index has to learn of a put.
type change struct {
	old *storage.Record // nil if the record is new
	new storage.Record
}

func (t *tx) Get(id storage.ID) (storage.Record, error) {
	r, err := t.tokens.get(id)
	if err == nil && r.Subject != t.subject {
		return storage.Record{}, storage.ErrNotFound
	}
	return r, err
}

func (t *tx) Put(r storage.Record) error {
	var old *storage.Record
	switch stored, err := t.tokens.get(r.ID); {
	case err == nil:
		old = &stored
	case !errors.Is(err, storage.ErrNotFound):
		return err
	}
	if err := storage.CheckPut(t.subject, old, r); err != nil {
		return err
	}
	if err := t.tokens.put(&r); err != nil {
		return err
	}
	t.changes = append(t.changes, change{old, r})
	return nil
}

func (t *tx) Records() iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for _, id := range t.ids() {
			r, err := t.tokens.get(id)
			if errors.Is(err, storage.ErrNotFound) || err == nil && r.Subject != t.subject {
				continue // a write of unknown outcome that did not happen
			}
			if err != nil {
				r = storage.Record{Token: storage.Token{ID: id}}
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// ids returns the subject's IDs in order, those of new records included. Only the
// writer changes the index, and this is its turn.
func (t *tx) ids() []storage.ID {
	ids := t.store.index.Subject(t.subject)
	var added []storage.ID
	for _, c := range t.changes {
		if c.old == nil {
			added = append(added, c.new.ID)
		}
	}
	if added == nil {
		return ids
	}
	ids = slices.Concat(ids, added)
	slices.SortFunc(ids, storage.ID.Compare)
	return slices.Compact(ids)
}

// file brings the index up to what was written. A commit of unknown outcome is
// taken for one that happened: an entry too many means nothing, one too few would
// hide a token from whoever ends all of a subject's.
func (t *tx) file(err error) {
	if err != nil && !errors.Is(err, storage.ErrOutcomeUnknown) {
		return
	}
	for _, c := range t.changes {
		t.store.index.Put(c.old, c.new)
	}
}
