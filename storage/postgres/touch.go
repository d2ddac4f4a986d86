package postgres

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgtype"

	"github.com/seed-55daa01a/lapse/storage"
)

const (
	// touchBatch is how many renewals one statement writes, and maxDeferred how many wait at most. A
	// further one is written at once.
	touchBatch  = 500
	maxDeferred = 1 << 16

	// seenSlots is of how many tokens the stored expiry is remembered.
	seenSlots = 1 << 13
)

// deferred are the renewals by use that are not written yet. Each method of the store shows them.
type deferred struct {
	s    *Store
	stop context.CancelFunc
	done chan struct{}

	mu      sync.Mutex
	waiting map[storage.ID]storage.Use
	byTag   map[[2]byte]map[storage.ID]struct{} // the IDs in waiting
	expiry  [seenSlots]stored

	flushing chan struct{} // is full while a flush is under way
}

// stored is the expiry that a token had in the table when it was read last, in Unix milliseconds.
type stored struct {
	id      storage.ID
	expires int64
}

func newDeferred(s *Store) *deferred {
	ctx, stop := context.WithCancel(context.Background())
	d := &deferred{
		s: s, stop: stop, done: make(chan struct{}), flushing: make(chan struct{}, 1),
		waiting: map[storage.ID]storage.Use{}, byTag: map[[2]byte]map[storage.ID]struct{}{},
	}
	go d.loop(ctx)
	return d
}

// loop flushes every Options.FlushEvery, until ctx ends. A flush whose connection is lost without a word
// gives up, and the next one takes another connection.
func (d *deferred) loop(ctx context.Context) {
	defer close(d.done)
	ticker := time.NewTicker(d.s.options.FlushEvery)
	defer ticker.Stop()
	for {
		select {
		case <-ticker.C:
			limited, cancel := context.WithTimeout(ctx, max(2*time.Second, 8*d.s.options.FlushEvery))
			_ = d.flush(limited) // what could not be written waits for the next time
			d.s.tellLate(limited)
			cancel()
		case <-ctx.Done():
			return
		}
	}
}

// close writes what waits, and ends the loop.
func (d *deferred) close() error {
	d.stop()
	<-d.done
	ctx, cancel := context.WithTimeout(context.Background(), d.s.patience.close)
	defer cancel()
	for n := 0; ; n++ {
		if err := d.flush(ctx); err != nil || d.count() == 0 {
			return err
		}
		if err := pause(ctx, n); err != nil { // another transaction has locked the rows of the rest
			return classify(err)
		}
	}
}

// count returns how many renewals wait.
func (d *deferred) count() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return len(d.waiting)
}

func slotOf(id storage.ID) int { return (int(id[9])<<8 | int(id[10])) % seenSlots }

func tagBytes(id storage.ID) [2]byte { return [2]byte(id[14:]) }

// seen remembers the expiry of a token that was read.
func (d *deferred) seen(id storage.ID, expires int64) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expiry[slotOf(id)] = stored{id, expires}
}

// raise applies to r the renewal of it that waits. before is the one that waited when the server was asked
// for r: a flush may have written it since, and the answer is older.
func (d *deferred) raise(r *storage.Record, before storage.Use) {
	before.Raise(r)
	now := d.of(r.ID)
	now.Raise(r)
}

// of returns the renewal of id that waits. Without one the result raises nothing.
func (d *deferred) of(id storage.ID) storage.Use {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.waiting[id]
}

// ofTag returns the renewals of IDs with that tag that wait.
func (d *deferred) ofTag(tag [2]byte) map[storage.ID]storage.Use {
	d.mu.Lock()
	defer d.mu.Unlock()
	uses := make(map[storage.ID]storage.Use, len(d.byTag[tag]))
	for id := range d.byTag[tag] {
		uses[id] = d.waiting[id]
	}
	return uses
}

// all returns all renewals that wait.
func (d *deferred) all() map[storage.ID]storage.Use {
	d.mu.Lock()
	defer d.mu.Unlock()
	return maps.Clone(d.waiting)
}

// put notes a renewal, and returns false if it is to be written at once: where another process might
// see the token run out before the flush, or too many wait.
func (d *deferred) put(id storage.ID, use storage.Use) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	known := d.expiry[slotOf(id)]
	soon := use.At.Add(2 * d.s.options.FlushEvery).UnixMilli()
	if known.id != id || known.expires <= soon || len(d.waiting) >= maxDeferred {
		return false
	}
	d.add(id, use)
	return true
}

// add adds a renewal to those that wait. The caller has the lock.
func (d *deferred) add(id storage.ID, use storage.Use) {
	d.waiting[id] = merged(d.waiting[id], use)
	tag := tagBytes(id)
	if d.byTag[tag] == nil {
		d.byTag[tag] = map[storage.ID]struct{}{}
	}
	d.byTag[tag][id] = struct{}{}
}

// merged returns the renewal that has the effect of both.
func merged(a, b storage.Use) storage.Use {
	if b.At.After(a.At) {
		a.At = b.At
	}
	if b.ExpiresAt.After(a.ExpiresAt) {
		a.ExpiresAt = b.ExpiresAt
	}
	return a
}

// flush writes the renewals that wait. Those of rows that are locked by another transaction wait on.
func (d *deferred) flush(ctx context.Context) error {
	select {
	case d.flushing <- struct{}{}:
		defer func() { <-d.flushing }()
	case <-ctx.Done():
		return classify(ctx.Err())
	}
	batch := map[storage.ID]storage.Use{}
	for id, use := range d.all() {
		batch[id] = use
		if len(batch) == touchBatch {
			if err := d.flushBatch(ctx, batch); err != nil {
				return err
			}
			clear(batch)
		}
	}
	return d.flushBatch(ctx, batch)
}

// flushBatch writes renewals by one statement, and forgets those that are written, or whose tokens are
// ended or gone.
func (d *deferred) flushBatch(ctx context.Context, batch map[storage.ID]storage.Use) error {
	locked, err := d.write(ctx, batch)
	if err != nil {
		return err
	}
	for _, id := range locked {
		delete(batch, id)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, use := range batch {
		if d.waiting[id] != use { // it was used again meanwhile
			continue
		}
		delete(d.waiting, id)
		tag := tagBytes(id)
		if delete(d.byTag[tag], id); len(d.byTag[tag]) == 0 {
			delete(d.byTag, tag)
		}
	}
	return nil
}

// write writes renewals, and returns the IDs of those whose rows another transaction has locked.
func (d *deferred) write(ctx context.Context, batch map[storage.ID]storage.Use) (locked []storage.ID, err error) {
	if len(batch) == 0 {
		return nil, nil
	}
	n := len(batch)
	ids, tags := make([]pgtype.UUID, 0, n), make([]int16, 0, n)
	used, expires, slack := make([]int64, 0, n), make([]int64, 0, n), make([]int64, 0, n)
	for id, use := range batch {
		ids, tags = append(ids, uuid(id)), append(tags, tagOf(id))
		used, expires = append(used, use.At.UnixMilli()), append(expires, use.ExpiresAt.UnixMilli())
		slack = append(slack, slackOf(use.ExpiresAt.Sub(use.At)))
	}
	done, err := d.s.ids(ctx, d.s.sql.touch, ids, tags, used, expires, slack)
	for _, id := range done {
		d.s.copies.raise(id, batch[id])
	}
	if err != nil || len(done) == n {
		return nil, err
	}
	rest := maps.Clone(batch)
	for _, id := range done {
		delete(rest, id)
	}
	all, tags := idColumns(slices.Collect(maps.Keys(rest)))
	return d.s.ids(ctx, d.s.sql.untouched, all, tags) // the others are ended or gone
}

// ids returns the IDs that a statement returns.
func (s *Store) ids(ctx context.Context, sql string, args ...any) (ids []storage.ID, err error) {
	rows, err := s.pool.Query(ctx, sql, args...)
	if err != nil {
		return nil, classify(err)
	}
	found, err := pgx.CollectRows(rows, pgx.RowTo[[16]byte])
	for _, id := range found {
		ids = append(ids, id)
	}
	return ids, classify(err)
}

// Touch implements storage.Store. A renewal is written within Options.FlushEvery. It is written at once
// if the expiry in the table is nearer than twice that, or is not known here: another process would
// else refuse the token meanwhile.
func (s *Store) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if err := s.begin(ctx); err != nil {
		return err
	}
	defer s.end()
	if !storable(use.At) || !storable(use.ExpiresAt) {
		return fmt.Errorf("%w: an instant is outside of the years 1 to 9999", storage.ErrUnavailable)
	}
	if s.touches.put(id, use) {
		return nil
	}
	limited, cancel := context.WithTimeout(ctx, s.patience.commit)
	defer cancel()
	for n := 1; ; n++ {
		locked, err := s.touches.write(limited, map[storage.ID]storage.Use{id: use})
		if err != nil || len(locked) == 0 {
			return err
		}
		if err := pause(limited, n); err != nil {
			return classify(err)
		}
	}
}

// storable reports whether a record may hold t.
func storable(t time.Time) bool { year := t.UTC().Year(); return 1 <= year && year <= 9999 }
