package storagetest

import (
	"context"
	"iter"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/feed"
)

// toy is a correct store, slow and short, with a few places where a flaw can be put
// in. Unlike memory it outlives Close, so that it takes every case.
type toy struct {
	*toyData
	closed bool

	check   func(subject string, old *storage.Record, r storage.Record) error
	belongs func(r storage.Record, subject string) bool
	order   func(t *toyTx, rs []storage.Record) // of Tx.Records
	listed  func(a, b storage.Record) int       // the order of List
	living  func(t *toyTx, now time.Time) []storage.Record
	stored  func(r storage.Record) storage.Record
	due     func(r storage.Record, deadBefore time.Time) bool
	atLeast int  // what Sweep takes for the least limit there is
	direct  bool // whether a Put has its effect at once

	feed  *feed.Feed
	tell  func(t *toy, rs []storage.Record) // of what an Update has put
	watch func(t *toy, ctx context.Context) iter.Seq2[storage.Change, error]
	known map[storage.ID]bool // to those who tell

	tellsAll bool // also what need not be told

	places map[string]storage.ID // the last IDs of pages, by the next of the page
}

// toyData is what the handles of one store share.
type toyData struct {
	turn    chan struct{}
	mu      sync.Mutex
	records map[storage.ID]storage.Record
	madeBy  map[storage.ID]*toy // the handle by which each record was put first
	handles []*toy
	bodies  bodies        // for those that wait for them
	meeting chan struct{} // of the Updates of two processes
	tries                 // of them
}

func newToy() *toy {
	t := &toy{
		toyData: &toyData{turn: make(chan struct{}, 1), records: make(map[storage.ID]storage.Record), madeBy: make(map[storage.ID]*toy), meeting: make(chan struct{})},
		check:   storage.CheckPut,
		belongs: func(r storage.Record, subject string) bool { return r.Subject == subject },
		order:   func(_ *toyTx, rs []storage.Record) { slices.SortFunc(rs, byID) },
		listed:  byID,
		living:  (*toyTx).walk,
		stored:  func(r storage.Record) storage.Record { return r },
		due:     func(r storage.Record, deadBefore time.Time) bool { return r.DeadFrom().Before(deadBefore) },
		feed:    new(feed.Feed),
		tell:    tellAll,
		places:  make(map[string]storage.ID),
		watch:   func(t *toy, ctx context.Context) iter.Seq2[storage.Change, error] { return t.feed.Watch(ctx) },
	}
	t.handles = []*toy{t}
	return t
}

// shared returns another handle on the data of t, with the flaws of t.
func (t *toy) shared() *toy {
	t.mu.Lock()
	defer t.mu.Unlock()
	other := *t
	other.feed = new(feed.Feed)
	t.handles = append(t.handles, &other)
	return &other
}

// reopened returns a toy with the same records and flaws. Nobody uses t any more.
func (t *toy) reopened() *toy {
	t.Close()
	fresh := newToy()
	fresh.records, fresh.check, fresh.belongs, fresh.order = t.records, t.check, t.belongs, t.order
	fresh.living, fresh.listed = t.living, t.listed
	fresh.stored, fresh.due, fresh.atLeast, fresh.direct = t.stored, t.due, t.atLeast, t.direct
	fresh.tell, fresh.watch, fresh.known, fresh.tellsAll = t.tell, t.watch, t.known, t.tellsAll
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
	for id := range tx.created {
		t.madeBy[id] = t
	}
	t.tell(t, tx.put)
	return nil
}

// tellAll tells the watches of all handles. It proves to those of other handles how current they are.
func tellAll(t *toy, rs []storage.Record) {
	for _, h := range t.handles {
		for _, r := range rs {
			h.feed.Tell(r.ID, r.Subject)
		}
		if h != t {
			h.feed.AsOf(storage.Elapsed())
		}
	}
}

func (t *toy) Watch(ctx context.Context) iter.Seq2[storage.Change, error] { return t.watch(t, ctx) }

func (t *toy) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		if err := t.lock(ctx); err != nil {
			yield(storage.Record{}, err)
			return
		}
		rs := slices.SortedFunc(maps.Values(t.records), t.listed)
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
	put     []storage.Record    // what is to be told: puts that replace more than they raise, and deletes
	created map[storage.ID]bool // what it put first
	gone    map[storage.ID]bool // what it deleted
}

func (t *toy) begin(subject string) *toyTx {
	tx := &toyTx{toy: t, subject: subject, records: t.records, created: make(map[storage.ID]bool), gone: make(map[storage.ID]bool)}
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
	if t.records[r.ID] = t.toy.stored(r); old == nil {
		t.created[r.ID] = true
	}
	if t.toy.tellsAll || storage.MustTell(old, r) {
		t.put = append(t.put, r)
	}
	return nil
}
