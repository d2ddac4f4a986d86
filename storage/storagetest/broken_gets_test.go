package storagetest

import (
	"context"
	"iter"

	"github.com/seed-55daa01a/lapse/storage"
)

// getting is a toy with another Gets.
type getting struct {
	*toy
	gets func(g getting, ctx context.Context, ids []storage.ID, yield func(storage.Record, error) bool)
	old  map[storage.ID]storage.Record // as they were when Gets read them first
}

func (g getting) Gets(ctx context.Context, ids []storage.ID) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) { g.gets(g, ctx, ids, yield) }
}

func (g getting) GetsFor(store storage.Store) bool {
	_, itself := store.(getting)
	return itself
}

// gettingForAll is a getting that takes every store for itself.
type gettingForAll struct{ getting }

func (gettingForAll) GetsFor(storage.Store) bool { return true }

func getsLike(gets func(g getting, ctx context.Context, ids []storage.ID, yield func(storage.Record, error) bool)) func(*toy) storage.Store {
	return func(t *toy) storage.Store { return getting{t, gets, make(map[storage.ID]storage.Record)} }
}

// right is the Gets of the toy.
func right(g getting, ctx context.Context, ids []storage.ID, yield func(storage.Record, error) bool) {
	for r, err := range g.toy.Gets(ctx, ids) {
		if !yield(r, err) {
			return
		}
	}
}

func getsFlaws() []flaw {
	type more = func(storage.Record, error) bool
	return []flaw{
		{"gets_for_a_wrapper", []string{"S32"}, func(t *toy) storage.Store { return gettingForAll{getsLike(right)(t).(getting)} }},
		{"gets_tells_of_absent_ones", []string{"S32"}, getsLike(func(g getting, ctx context.Context, ids []storage.ID, yield more) {
			for _, id := range ids {
				if r, err := g.Get(ctx, id); !yield(r, err) || err != nil && err != storage.ErrNotFound {
					return
				}
			}
		})},
		{"gets_ends_at_an_absent_one", []string{"S32"}, getsLike(func(g getting, ctx context.Context, ids []storage.ID, yield more) {
			for _, id := range ids {
				if r, err := g.Get(ctx, id); err == storage.ErrNotFound || !yield(r, err) || err != nil {
					return
				}
			}
		})},
		{"gets_reads_a_thousand_at_most", []string{"S32"}, getsLike(func(g getting, ctx context.Context, ids []storage.ID, yield more) {
			right(g, ctx, ids[:min(len(ids), 1000)], yield)
		})},
		{"gets_hides_the_dead", []string{"S32"}, getsLike(func(g getting, ctx context.Context, ids []storage.ID, yield more) {
			right(g, ctx, ids, func(r storage.Record, err error) bool { return err == nil && !r.EndedAt.IsZero() || yield(r, err) })
		})},
		{"gets_caches", []string{"S32"}, getsLike(func(g getting, ctx context.Context, ids []storage.ID, yield more) {
			right(g, ctx, ids, func(r storage.Record, err error) bool {
				if old, ok := g.old[r.ID]; ok {
					r = old
				}
				g.old[r.ID] = r
				return yield(r, err)
			})
		})},
		{"gets_goes_on_after_its_error", []string{"S32"}, getsLike(func(g getting, ctx context.Context, ids []storage.ID, yield more) {
			for _, id := range ids {
				if r, err := g.Get(ctx, id); err != storage.ErrNotFound && !yield(r, err) {
					return
				}
			}
		})},
		{"gets_outlives_close", []string{"S32"}, getsLike(func(g getting, ctx context.Context, ids []storage.ID, yield more) {
			right(g, ctx, ids, func(r storage.Record, err error) bool { return err == storage.ErrClosed || yield(r, err) })
		})},
		{"gets_holds_the_lock", []string{"S32"}, getsLike(func(g getting, ctx context.Context, ids []storage.ID, yield more) {
			var rs []storage.Record
			for r, err := range g.toy.Gets(ctx, ids) {
				if err != nil {
					yield(r, err)
					return
				}
				rs = append(rs, r)
			}
			g.mu.Lock()
			defer g.mu.Unlock()
			for _, r := range rs {
				if !yield(r, nil) {
					return
				}
			}
		})},
		{"stopped_gets_holds_the_lock", []string{"S32"}, getsLike(func(g getting, ctx context.Context, ids []storage.ID, yield more) {
			right(g, ctx, ids, func(r storage.Record, err error) bool {
				if !yield(r, err) {
					g.mu.Lock()
					return false
				}
				return true
			})
		})},
	}
}
