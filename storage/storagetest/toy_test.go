package storagetest

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/internal/feed"
	"github.com/seed-55daa01a/lapse/storage"
)

// toy is a correct store, slow and short, with a few places where a flaw can be put
// in. Unlike memory it outlives Close, so that it takes every case.
type toy struct {
	turn chan struct{}

	mu      sync.Mutex
	records map[storage.ID]storage.Record
	closed  bool

	check   func(subject string, old *storage.Record, r storage.Record) error
	belongs func(r storage.Record, subject string) bool
	order   func(t *toyTx, rs []storage.Record) // of Tx.Records
	living  func(t *toyTx, now time.Time) []storage.Record
	stored  func(r storage.Record) storage.Record
	due     func(r storage.Record, deadBefore time.Time) bool
	atLeast int  // what Sweep takes for the least limit there is
	direct  bool // whether a Put has its effect at once

	feed  *feed.Feed
	tell  func(t *toy, rs []storage.Record) // of what an Update has put
	watch func(t *toy, ctx context.Context) iter.Seq2[storage.Change, error]
	known map[storage.ID]bool // to those who tell

	places map[string]storage.ID // the last IDs of pages, by the next of the page
}

func newToy() *toy {
	return &toy{
		turn:    make(chan struct{}, 1),
		records: make(map[storage.ID]storage.Record),
		check:   storage.CheckPut,
		belongs: func(r storage.Record, subject string) bool { return r.Subject == subject },
		order:   func(_ *toyTx, rs []storage.Record) { slices.SortFunc(rs, byID) },
		living:  (*toyTx).walk,
		stored:  func(r storage.Record) storage.Record { return r },
		due:     func(r storage.Record, deadBefore time.Time) bool { return r.DeadFrom().Before(deadBefore) },
		feed:    new(feed.Feed),
		tell:    tellAll,
		places:  make(map[string]storage.ID),
		watch:   func(t *toy, ctx context.Context) iter.Seq2[storage.Change, error] { return t.feed.Watch(ctx) },
	}
}

// reopened returns a toy with the same records and flaws. Nobody uses t any more.
func (t *toy) reopened() *toy {
	t.Close()
	fresh := newToy()
	fresh.records, fresh.check, fresh.belongs, fresh.order = t.records, t.check, t.belongs, t.order
	fresh.living = t.living
	fresh.stored, fresh.due, fresh.atLeast, fresh.direct = t.stored, t.due, t.atLeast, t.direct
	fresh.tell, fresh.watch, fresh.known = t.tell, t.watch, t.known
	return fresh
}

// lock returns without the lock if it returns an error.
func (t *toy) lock(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t.mu.Lock()
	if t.closed {
		t.mu.Unlock()
		return storage.ErrClosed
	}
	return nil
}

func (t *toy) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if err := t.lock(ctx); err != nil {
		return storage.Record{}, err
	}
	defer t.mu.Unlock()
	if r, ok := t.records[id]; ok {
		return r, nil
	}
	return storage.Record{}, storage.ErrNotFound
}

func (t *toy) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if err := t.lock(ctx); err != nil {
		return err
	}
	defer t.mu.Unlock()
	if r, ok := t.records[id]; ok && use.Raise(&r) {
		t.records[id] = r
	}
	return nil
}

func (t *toy) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	select {
	case t.turn <- struct{}{}:
		defer func() { <-t.turn }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if err := t.lock(ctx); err != nil {
		return err
	}
	defer t.mu.Unlock()
	tx := t.begin(subject)
	if err := fn(tx); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	t.records = tx.records
	t.tell(t, tx.put)
	return nil
}

func tellAll(t *toy, rs []storage.Record) {
	for _, r := range rs {
		t.feed.Tell(r.ID, r.Subject)
	}
}

func (t *toy) Watch(ctx context.Context) iter.Seq2[storage.Change, error] { return t.watch(t, ctx) }

func (t *toy) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		if err := t.lock(ctx); err != nil {
			yield(storage.Record{}, err)
			return
		}
		rs := slices.SortedFunc(maps.Values(t.records), byID)
		t.mu.Unlock()
		for _, r := range rs {
			if f.Match(r) && !yield(r, nil) {
				return
			}
		}
	}
}

func (t *toy) Gets(ctx context.Context, ids []storage.ID) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for _, id := range ids {
			if r, err := t.Get(ctx, id); err != storage.ErrNotFound && (!yield(r, err) || err != nil) {
				return
			}
		}
	}
}

func (t *toy) GetsFor(store storage.Store) bool { return store == storage.Store(t) }

func (t *toy) Sweep(ctx context.Context, deadBefore time.Time, limit int) (int, error) {
	if err := t.lock(ctx); err != nil {
		return 0, err
	}
	defer t.mu.Unlock()
	n := 0
	for id, r := range t.records {
		if n < max(limit, t.atLeast) && t.due(r, deadBefore) {
			delete(t.records, id)
			n++
		}
	}
	return n, nil
}

func (t *toy) Close() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.feed.Close()
	return nil
}

// toyTx works on a copy of all records.
type toyTx struct {
	toy     *toy
	subject string
	records map[storage.ID]storage.Record
	put     []storage.Record    // and what it deleted
	gone    map[storage.ID]bool // what it deleted
}

func (t *toy) begin(subject string) *toyTx {
	tx := &toyTx{toy: t, subject: subject, records: t.records, gone: make(map[storage.ID]bool)}
	if !t.direct {
		tx.records = maps.Clone(t.records)
	}
	return tx
}

func (t *toyTx) Get(id storage.ID) (storage.Record, error) {
	if r, ok := t.records[id]; ok && t.toy.belongs(r, t.subject) {
		return r, nil
	}
	return storage.Record{}, storage.ErrNotFound
}

func (t *toyTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for _, r := range t.toy.living(t, now) {
			if r, ok := t.records[r.ID]; ok && !yield(r, nil) { // the body may have deleted it
				return
			}
		}
	}
}

// walk returns what lives at now, in ID order, by a look at every record there is.
func (t *toyTx) walk(now time.Time) (all []storage.Record) {
	for _, r := range t.records {
		if t.toy.belongs(r, t.subject) && r.Live(now) {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, byID)
	return all
}

func (t *toyTx) Delete(id storage.ID) error {
	r, ok := t.records[id]
	if !ok || !t.toy.belongs(r, t.subject) {
		return storage.ErrNotFound
	}
	delete(t.records, id)
	t.gone[id] = true
	t.put = append(t.put, storage.Record{Token: storage.Token{ID: id, Subject: t.subject}})
	return nil
}

func (t *toyTx) Records() iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		var rs []storage.Record
		for _, r := range t.records {
			if t.toy.belongs(r, t.subject) {
				rs = append(rs, r)
			}
		}
		t.toy.order(t, rs)
		for _, r := range rs {
			if r, ok := t.records[r.ID]; ok && !yield(r, nil) {
				return
			}
		}
	}
}

func (t *toyTx) Put(r storage.Record) error {
	var old *storage.Record
	if is, ok := t.records[r.ID]; ok {
		old = &is
	}
	if t.gone[r.ID] {
		return storage.ErrConflict
	}
	if err := t.toy.check(t.subject, old, r); err != nil {
		return err
	}
	t.records[r.ID] = t.toy.stored(r)
	t.put = append(t.put, r)
	return nil
}
