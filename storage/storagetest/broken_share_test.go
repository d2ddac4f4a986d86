package storagetest

import (
	"cmp"
	"context"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// shareFlaws are flaws that one process alone does not show.
func shareFlaws() []flaw {
	return append(timeFlaws(), []flaw{
		{"tells_its_own_process_only", []string{"S24", "S39"}, tellingLike(func(t *toy, rs []storage.Record) {
			for _, r := range rs {
				t.feed.Tell(r.ID, r.Subject)
			}
		})},
		{"tells_other_processes_of_ends_only", []string{"S24", "S39"}, tellingLike(func(t *toy, rs []storage.Record) {
			for _, h := range t.handles {
				for _, r := range rs {
					if h == t || !r.EndedAt.IsZero() {
						h.feed.Tell(r.ID, r.Subject)
					}
				}
			}
		})},
		{"proves_what_it_has_not_told", []string{"S39"}, tellingLike(func(t *toy, rs []storage.Record) {
			for _, h := range t.handles {
				if h == t {
					tellOwn(t, rs)
					continue
				}
				h.feed.AsOf(storage.Elapsed() + time.Hour)
				go func() {
					pauseFor(context.Background(), moment)
					tellOwn(h, rs)
				}()
			}
		})},
		{"loses_updates_of_other_processes", []string{"S6", "S36"}, func(t *toy) storage.Store { return apart{t, make(chan struct{}, 1)} }},
		{"counts_what_its_own_process_put", []string{"S6", "S27", "S28", "S36"}, tuned(func(t *toy) {
			t.living = func(tx *toyTx, now time.Time) []storage.Record {
				return slices.DeleteFunc(tx.walk(now), func(r storage.Record) bool {
					by := t.madeBy[r.ID]
					return by != nil && by != tx.toy
				})
			}
		})},
		{"takes_an_id_of_another_process", []string{"S7"}, tuned(func(t *toy) {
			t.check = func(subject string, old *storage.Record, r storage.Record) error {
				if old != nil && t.madeBy[r.ID] != t {
					return takingAny(subject, old, r)
				}
				return storage.CheckPut(subject, old, r)
			}
		})},
		{"revives_what_another_process_ended", []string{"S8"}, tuned(func(t *toy) {
			t.check = func(subject string, old *storage.Record, r storage.Record) error {
				if old != nil && t.madeBy[r.ID] != t {
					return revivingPut(subject, old, r)
				}
				return storage.CheckPut(subject, old, r)
			}
		})},
		{"touches_what_it_has_seen", []string{"S12"}, remembered(func(r *remembering) { r.touches = true })},
		{"sweeps_what_it_has_seen", []string{"S18"}, remembered(func(r *remembering) { r.sweeps = true })},
		{"reads_what_it_has_seen", []string{"S27", "S37"}, remembered(func(r *remembering) { r.reads = true })},
		{"copies_what_it_has_seen", []string{"S37"}, remembered(func(r *remembering) { r.copies = true })},
		{"closes_every_process", []string{"S8", "S12", "S20", "S26", "S33"}, func(t *toy) storage.Store { return closingAll{t} }},
		{"closes_every_watch", []string{"S26"}, func(t *toy) storage.Store { return closingWatches{t} }},
		{"waits_for_bodies_of_other_processes", []string{"S24"}, func(t *toy) storage.Store { return waiting{t, new(sync.Mutex)} }},
		{"late_touch_undoes_what_another_process_put", []string{"S33"}, func(t *toy) storage.Store {
			return &lateAcross{lateSuspended{t, make(map[storage.ID]time.Time)}}
		}},
		{"reads_before_its_own_slow_commit", []string{"S28"}, slowly(false, false)},
		{"shows_what_may_not_happen", []string{"S28"}, slowly(true, true)},
	}...)
}

// tellOwn tells the watches of t alone.
func tellOwn(t *toy, rs []storage.Record) {
	for _, r := range rs {
		t.feed.Tell(r.ID, r.Subject)
	}
}

// bySubject orders the records of one subject after those of the other.
func bySubject(a, b storage.Record) int {
	return cmp.Or(strings.Compare(a.Subject, b.Subject), byID(a, b))
}

// apart has its Updates wait for those of its own process alone. Two Updates of two processes see the same
// records: each begins, and then waits for the other to have begun.
type apart struct {
	*toy
	own chan struct{}
}

func (a apart) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if len(a.handles) == 1 {
		return a.toy.Update(ctx, subject, fn)
	}
	a.own <- struct{}{}
	defer func() { <-a.own }()
	if err := a.lock(ctx); err != nil {
		return err
	}
	tx := a.begin(subject)
	before := a.records
	a.mu.Unlock()
	a.meet()
	if err := fn(tx); err != nil {
		return err
	}
	if err := a.lock(ctx); err != nil {
		return err
	}
	defer a.mu.Unlock()
	a.records = maps.Clone(a.records)
	for id, r := range tx.records {
		if was, ok := before[id]; !ok || !was.Equal(r) {
			a.records[id] = r
		}
	}
	for id := range tx.gone {
		delete(a.records, id)
	}
	a.tell(a.toy, tx.put)
	return nil
}

// meet returns once an Update of the other process is here, too, or after a time in which one that has begun
// would have come.
func (a apart) meet() {
	select {
	case a.meeting <- struct{}{}:
	case <-a.meeting:
	case <-time.After(a.limit()):
		a.missed.Add(1)
	}
}

// tries are how often a call has waited for another one in vain.
type tries struct{ missed atomic.Int64 }

// limit returns how long to wait for a call at the same time: so long that one of a slow machine comes, and after a few
// in vain less than a moment, for the case has one call at a time.
func (t *tries) limit() time.Duration {
	if t.missed.Load() > 3 {
		return moment / 2
	}
	return 25 * moment
}

// remembering believes that each record is as this process has written it or read it first.
type remembering struct {
	*toy
	seen                           map[storage.ID]storage.Record
	mu                             *sync.Mutex // the lock of seen
	reads, touches, sweeps, copies bool
}

func remembered(tune func(*remembering)) func(*toy) storage.Store {
	return func(t *toy) storage.Store {
		r := &remembering{toy: t, seen: make(map[storage.ID]storage.Record), mu: new(sync.Mutex)}
		tune(r)
		return r
	}
}

func (m *remembering) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := m.toy.Get(ctx, id)
	m.mu.Lock()
	defer m.mu.Unlock()
	old, ok := m.seen[id]
	if err == nil && !ok {
		m.seen[id] = r
	}
	if m.reads && ok && err == nil {
		return old, nil
	}
	return r, err
}

func (m *remembering) Cached(id storage.ID) (storage.Record, bool) {
	if !m.copies {
		return m.toy.Cached(id)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	r, ok := m.seen[id]
	return r, ok
}

func (m *remembering) CachedFor(store storage.Store) bool { return store == storage.Store(m) }

func (m *remembering) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	err := m.toy.Update(ctx, subject, fn)
	m.mu.Lock()
	defer m.mu.Unlock()
	for id, r := range m.seen {
		if r.Subject == subject {
			delete(m.seen, id)
		}
	}
	return err
}

func (m *remembering) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	m.mu.Lock()
	r, ok := m.seen[id]
	delete(m.seen, id)
	m.mu.Unlock()
	if !ok || !m.touches || !use.Raise(&r) {
		return m.toy.Touch(ctx, id, use)
	}
	if err := m.lock(ctx); err != nil {
		return err
	}
	defer m.toy.mu.Unlock()
	m.records[id] = r
	return nil
}

func (m *remembering) Sweep(ctx context.Context, deadBefore time.Time, limit int) (int, error) {
	if !m.sweeps {
		return m.toy.Sweep(ctx, deadBefore, limit)
	}
	if err := m.lock(ctx); err != nil {
		return 0, err
	}
	defer m.toy.mu.Unlock()
	m.mu.Lock()
	defer m.mu.Unlock()
	n := 0
	for id, r := range m.records {
		if seen, ok := m.seen[id]; ok {
			r = seen
		}
		if n < limit && m.due(r, deadBefore) {
			delete(m.records, id)
			n++
		}
	}
	return n, nil
}

type closingAll struct{ *toy }

func (c closingAll) Close() error {
	c.mu.Lock()
	all := c.handles
	c.mu.Unlock()
	for _, h := range all {
		h.Close()
	}
	return nil
}

type closingWatches struct{ *toy }

func (c closingWatches) Close() error {
	err := c.toy.Close()
	for _, h := range c.handles {
		h.feed.Close()
	}
	return err
}

// bodies are the locks of the loop bodies of all handles.
type bodies struct {
	mu  sync.Mutex
	all []*sync.Mutex
}

func (b *bodies) add(body *sync.Mutex) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, body)
}

func (b *bodies) list() []*sync.Mutex {
	b.mu.Lock()
	defer b.mu.Unlock()
	return slices.Clone(b.all)
}

// waiting has each Update wait for the loop bodies of watches of other processes.
type waiting struct {
	*toy
	body *sync.Mutex
}

func (w waiting) Watch(ctx context.Context) iter.Seq2[storage.Change, error] {
	w.bodies.add(w.body)
	return func(yield func(storage.Change, error) bool) {
		for c, err := range w.toy.Watch(ctx) {
			w.body.Lock()
			more := yield(c, err)
			w.body.Unlock()
			if !more {
				return
			}
		}
	}
}

func (w waiting) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	for _, b := range w.bodies.list() {
		if b != w.body {
			b.Lock()
			b.Unlock() //lint:ignore SA2001 Update only waits
		}
	}
	return w.toy.Update(ctx, subject, fn)
}
