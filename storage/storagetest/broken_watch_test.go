package storagetest

import (
	"context"
	"errors"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/feed"
)

// changes is what a Watch returns.
type changes = iter.Seq2[storage.Change, error]

func watchFlaws() []flaw {
	return []flaw{
		{"no_gap_at_first", []string{"S23", "S24", "S25", "S26"}, watchingLike(func(t *toy, ctx context.Context) changes {
			return only(t.feed.Watch(ctx), func(c storage.Change, _ error) bool { return !c.Gap })
		})},
		{"listens_after_the_gap", []string{"S23", "S24"}, watchingLike(lateWatch)},
		{"tells_what_is_new_only", []string{"S23"}, tellingLike(func(t *toy, rs []storage.Record) {
			for _, r := range rs {
				if !t.known[r.ID] {
					tellAll(t, []storage.Record{r})
				}
				t.known[r.ID] = true
			}
		})},
		{"tells_one_of_an_update", []string{"S23", "S24"}, tellingLike(func(t *toy, rs []storage.Record) { tellAll(t, rs[:min(1, len(rs))]) })},
		{"tells_no_subject", []string{"S23", "S24"}, tellingLike(func(t *toy, rs []storage.Record) {
			for _, r := range rs {
				t.feed.Tell(r.ID, "")
			}
		})},
		{"tells_too_early", []string{"S23"}, func(t *toy) storage.Store {
			t.tell = func(*toy, []storage.Record) {}
			return early{t, new(atomic.Bool), new(tries)}
		}},
		{"forgets_what_a_slow_body_missed", []string{"S24"}, func(t *toy) storage.Store {
			overlooking(t)
			return t
		}},
		{"makes_writers_wait", []string{"S24", "S25"}, func(t *toy) storage.Store { return polite{t, new(sync.Mutex)} }},
		{"watch_stays_locked", []string{"S25"}, watchingLike(func(t *toy, ctx context.Context) changes {
			return func(yield func(storage.Change, error) bool) {
				for c, err := range t.feed.Watch(ctx) {
					if !yield(c, err) {
						t.turn <- struct{}{}
						return
					}
				}
			}
		})},
		{"watch_outlives_its_context", []string{"S26"}, watchingLike(func(t *toy, _ context.Context) changes {
			return t.feed.Watch(context.Background())
		})},
		{"watch_outlives_close", []string{"S26"}, watchingLike(func(t *toy, ctx context.Context) changes {
			return mending(ctx, t.feed)
		})},
		{"watch_ends_without_a_word", []string{"S26"}, watchingLike(func(t *toy, ctx context.Context) changes {
			return only(t.feed.Watch(ctx), func(_ storage.Change, err error) bool { return err == nil })
		})},
		{"watch_goes_on_after_its_error", []string{"S26"}, watchingLike(func(t *toy, ctx context.Context) changes {
			return func(yield func(storage.Change, error) bool) {
				for c, err := range t.feed.Watch(ctx) {
					if !yield(c, err) || err != nil && !yield(storage.Change{Gap: true}, nil) {
						return
					}
				}
			}
		})},
	}
}

func watchingLike(watch func(t *toy, ctx context.Context) changes) func(*toy) storage.Store {
	return tuned(func(t *toy) { t.watch = watch })
}

func tellingLike(tell func(t *toy, rs []storage.Record)) func(*toy) storage.Store {
	return tuned(func(t *toy) { t.known, t.tell = make(map[storage.ID]bool), tell })
}

// only yields those pairs that keep keeps.
func only(all changes, keep func(c storage.Change, err error) bool) changes {
	return func(yield func(storage.Change, error) bool) {
		for c, err := range all {
			if keep(c, err) && !yield(c, err) {
				return
			}
		}
	}
}

// lateWatch begins to listen some time after its Gap.
func lateWatch(t *toy, ctx context.Context) changes {
	return func(yield func(storage.Change, error) bool) {
		if !yield(storage.Change{Gap: true}, nil) {
			return
		}
		pauseFor(ctx, 25*moment)
		only(t.feed.Watch(ctx), func(c storage.Change, _ error) bool { return !c.Gap })(yield)
	}
}

// overlooking has t tell a thousand records at most in one turn of a body, and nothing of
// the others.
func overlooking(t *toy) {
	var told atomic.Int32
	t.tell = func(t *toy, rs []storage.Record) {
		for _, r := range rs {
			if told.Add(1) <= 1_000 {
				tellAll(t, []storage.Record{r})
			}
		}
	}
	t.watch = func(t *toy, ctx context.Context) changes {
		return only(t.feed.Watch(ctx), func(storage.Change, error) bool {
			told.Store(0)
			return true
		})
	}
}

// mending is a watch that begins again whenever it is closed.
func mending(ctx context.Context, f *feed.Feed) changes {
	return func(yield func(storage.Change, error) bool) {
		for ctx.Err() == nil {
			for c, err := range f.Watch(ctx) {
				if err == storage.ErrClosed {
					pauseFor(ctx, moment)
					break
				}
				if !yield(c, err) {
					return
				}
			}
		}
	}
}

// early tells of what it is about to put, and then takes its time.
type early struct {
	*toy
	watched *atomic.Bool
	tries   *tries
}

func (e early) Watch(ctx context.Context) changes {
	e.watched.Store(true)
	return e.toy.Watch(ctx)
}

func (e early) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if e.watched.Load() {
		e.toy.Update(ctx, subject, func(tx storage.Tx) error {
			err := fn(tx)
			tellAll(e.toy, tx.(*toyTx).put)
			return errors.Join(err, errNo)
		})
		pauseFor(ctx, e.tries.limit())
		e.tries.missed.Add(1)
	}
	return e.toy.Update(ctx, subject, fn)
}

// polite waits with each Update until no body runs.
type polite struct {
	*toy
	body *sync.Mutex
}

func (p polite) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	p.body.Lock()
	p.body.Unlock() //lint:ignore SA2001 Update only waits
	return p.toy.Update(ctx, subject, fn)
}

func (p polite) Watch(ctx context.Context) changes {
	return func(yield func(storage.Change, error) bool) {
		for c, err := range p.toy.Watch(ctx) {
			p.body.Lock()
			more := yield(c, err)
			p.body.Unlock()
			if !more {
				return
			}
		}
	}
}
