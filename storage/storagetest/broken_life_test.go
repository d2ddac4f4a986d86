package storagetest

import (
	"context"
	"iter"
	"maps"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func lifeFlaws() []flaw {
	return []flaw{
		{"panic_keeps_the_lock", []string{"S9"}, func(t *toy) storage.Store { return guarded{t, make(chan struct{}, 1), false} }},
		{"goexit_keeps_the_lock", []string{"S9"}, func(t *toy) storage.Store { return guarded{t, make(chan struct{}, 1), true} }},
		{"swallows_a_panic", []string{"S9"}, func(t *toy) storage.Store { return swallowing{t} }},
		{"forgets_after_two_reopenings", []string{"S10"}, func(t *toy) storage.Store { return newForgetful(t, 0) }},
		{"close_drops_touches", []string{"S13"}, func(t *toy) storage.Store { return newDropping(t) }},
		{"deaf_to_contexts", []string{"S19"}, func(t *toy) storage.Store { return deaf{t} }},
		{"closes_once", []string{"S20"}, func(t *toy) storage.Store { return closingOnce{t} }},
		{"answers_after_close", []string{"S20"}, func(t *toy) storage.Store { return immortal{t} }},
	}
}

// guarded has a lock of its own, which it does not release by a defer, or only
// after a panic.
type guarded struct {
	*toy
	guard    chan struct{}
	recovers bool
}

func (g guarded) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	select {
	case g.guard <- struct{}{}:
	case <-ctx.Done():
		return ctx.Err()
	}
	if g.recovers {
		defer func() {
			if p := recover(); p != nil {
				<-g.guard
				panic(p)
			}
		}()
	}
	err := g.toy.Update(ctx, subject, fn)
	<-g.guard
	return err
}

type swallowing struct{ *toy }

func (s swallowing) Update(ctx context.Context, subject string, fn func(storage.Tx) error) (err error) {
	defer func() {
		if recover() != nil {
			err = storage.ErrUnavailable
		}
	}()
	return s.toy.Update(ctx, subject, fn)
}

// forgetful keeps what was written until it was opened for the third time.
type forgetful struct {
	*toy
	reopenings int
	found      map[storage.ID]storage.Record
}

func newForgetful(t *toy, reopenings int) *forgetful {
	return &forgetful{t, reopenings, maps.Clone(t.records)}
}

func (f *forgetful) again() storage.Store {
	if f.reopenings >= 2 {
		f.records = f.found
	}
	return newForgetful(f.reopened(), f.reopenings+1)
}

// dropping has room for 16 touched records; Close undoes what happened to others.
type dropping struct {
	*toy
	before map[storage.ID]storage.Record
	room   map[storage.ID]bool
}

func newDropping(t *toy) *dropping {
	return &dropping{t, make(map[storage.ID]storage.Record), make(map[storage.ID]bool)}
}

func (d *dropping) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	d.mu.Lock()
	if r, ok := d.records[id]; ok && len(d.room) < 16 {
		d.room[id] = true
	} else if ok && !d.room[id] {
		d.before[id] = r
	}
	d.mu.Unlock()
	return d.toy.Touch(ctx, id, use)
}

func (d *dropping) Close() error {
	d.mu.Lock()
	for id, old := range d.before {
		if r, ok := d.records[id]; ok {
			r.LastUsedAt, r.ExpiresAt = old.LastUsedAt, old.ExpiresAt
			d.records[id] = r
		}
	}
	d.mu.Unlock()
	return d.toy.Close()
}

// deaf never looks at a context.
type deaf struct{ *toy }

func (d deaf) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	return d.toy.Get(context.WithoutCancel(ctx), id)
}

func (d deaf) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	return d.toy.Touch(context.WithoutCancel(ctx), id, use)
}

func (d deaf) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return d.toy.Update(context.WithoutCancel(ctx), subject, fn)
}

func (d deaf) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return d.toy.List(context.WithoutCancel(ctx), f)
}

func (d deaf) Sweep(ctx context.Context, deadBefore time.Time, limit int) (int, error) {
	return d.toy.Sweep(context.WithoutCancel(ctx), deadBefore, limit)
}

type closingOnce struct{ *toy }

func (c closingOnce) Close() error {
	if err := c.lock(context.Background()); err != nil {
		return err
	}
	defer c.mu.Unlock()
	c.closed = true
	c.feed.Close()
	return nil
}

// immortal goes on reading what it has in memory.
type immortal struct{ *toy }

func (i immortal) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if err := ctx.Err(); err != nil {
		return storage.Record{}, err
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	if r, ok := i.records[id]; ok {
		return r, nil
	}
	return storage.Record{}, storage.ErrNotFound
}
