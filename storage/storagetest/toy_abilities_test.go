package storagetest

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func (t *toy) UpdateID(ctx context.Context, id storage.ID, fn func(storage.Tx) error) error {
	r, err := t.Get(ctx, id)
	if err != nil {
		return err
	}
	return t.Update(ctx, r.Subject, fn)
}

func (t *toy) UpdateIDFor(store storage.Store) bool { return store == storage.Store(t) }

// Cached has a copy of every record, and no copy is old.
func (t *toy) Cached(id storage.ID) (storage.Record, bool) {
	r, err := t.Get(context.Background(), id)
	return r, err == nil
}

func (t *toy) CachedFor(store storage.Store) bool { return store == storage.Store(t) }

// Time is a clock of the test's own, which all handles have.
func (t *toy) Time() (time.Time, time.Duration, bool) {
	return instant(0).Add(storage.Elapsed()), 0, true
}

func (t *toyTx) PutIfFits(r *storage.Record, n int, now time.Time) bool {
	if _, taken := t.records[r.ID]; taken {
		return false
	}
	n -= len(t.created)
	for _, other := range t.toy.living(t, now) {
		if !t.created[other.ID] {
			n--
		}
	}
	return n >= 0 && t.Put(*r) == nil
}
