package storagetest

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

func writeFlaws() []flaw {
	return []flaw{
		{"wraps_the_error_of_fn", []string{"S5"}, func(t *toy) storage.Store { return wrapping{t} }},
		{"writes_back_a_snapshot", []string{"S6", "S20"}, func(t *toy) storage.Store { return optimistic{t} }},
		{"touch_sets_both", []string{"S11"}, func(t *toy) storage.Store { return settingTouch{t} }},
		{"touch_revives", []string{"S12", "S30"}, func(t *toy) storage.Store { return revivingTouch{t} }},
		{"late_touch_revives", []string{"S12", "S31"}, func(t *toy) storage.Store { return newDeferring(t) }},
		{"sweep_trusts_its_index", []string{"S13", "S17", "S18"}, func(t *toy) storage.Store { return newIndexed(t) }},
		{"sweep_looks_then_deletes", []string{"S18"}, func(t *toy) storage.Store { return newUnlocked(t) }},
		{"sweeps_one_too_many", []string{"S17"}, func(t *toy) storage.Store { return oneMore{t} }},
	}
}

type wrapping struct{ *toy }

func (w wrapping) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if err := w.toy.Update(ctx, subject, fn); err != nil {
		return fmt.Errorf("update of %s: %w", subject, err)
	}
	return nil
}

// optimistic runs fn on a snapshot and writes what it put, whatever has happened
// since. It has no turns either, so Close need not wait.
type optimistic struct{ *toy }

func (o optimistic) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if err := o.lock(ctx); err != nil {
		return err
	}
	tx := &spyTx{Tx: o.begin(subject)}
	o.mu.Unlock()
	if err := fn(tx); err != nil {
		return err
	}
	for range 100 {
		runtime.Gosched() // so that others take their snapshot before this one writes
	}
	if err := o.lock(ctx); err != nil {
		return err
	}
	defer o.mu.Unlock()
	for _, r := range tx.puts {
		o.records[r.ID] = r
	}
	for _, id := range tx.deletes {
		delete(o.records, id)
	}
	o.tell(o.toy, tx.Tx.(*toyTx).put)
	return nil
}

// spyTx remembers what was put and deleted.
type spyTx struct {
	storage.Tx
	puts    []storage.Record
	deletes []storage.ID
}

func (s *spyTx) Delete(id storage.ID) error {
	err := s.Tx.Delete(id)
	if err == nil {
		s.deletes = append(s.deletes, id)
	}
	return err
}

func (s *spyTx) Put(r storage.Record) error {
	err := s.Tx.Put(r)
	if err == nil {
		s.puts = append(s.puts, r)
	}
	return err
}

// settingTouch takes the expiry of the later use, not the later expiry.
type settingTouch struct{ *toy }

func (s settingTouch) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if err := s.lock(ctx); err != nil {
		return err
	}
	defer s.mu.Unlock()
	r, ok := s.records[id]
	if !ok || !r.EndedAt.IsZero() {
		return nil
	}
	if later := use.At.After(r.LastUsedAt); later && !use.ExpiresAt.IsZero() {
		r.ExpiresAt = use.ExpiresAt
	}
	use.Raise(&r)
	s.records[id] = r
	return nil
}

type revivingTouch struct{ *toy }

func (v revivingTouch) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if err := v.lock(ctx); err != nil {
		return err
	}
	defer v.mu.Unlock()
	if r, ok := v.records[id]; ok {
		r.EndedAt, r.EndReason = time.Time{}, 0
		use.Raise(&r)
		v.records[id] = r
	}
	return nil
}

// deferring writes on Close what it touched, as it was then, over what has been
// ended or deleted since.
type deferring struct {
	*toy
	touched map[storage.ID]storage.Record
}

func newDeferring(t *toy) *deferring {
	return &deferring{t, make(map[storage.ID]storage.Record)}
}

func (d *deferring) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	err := d.toy.Touch(ctx, id, use)
	d.mu.Lock()
	defer d.mu.Unlock()
	if r, ok := d.records[id]; ok && err == nil {
		d.touched[id] = r
	}
	return err
}

func (d *deferring) Close() error {
	d.mu.Lock()
	for id, r := range d.touched {
		if is, ok := d.records[id]; !ok || !is.EndedAt.IsZero() {
			d.records[id] = r
		}
	}
	d.mu.Unlock()
	return d.toy.Close()
}

// indexed sweeps by when a record was to die as it was last put.
type indexed struct {
	*toy
	dies map[storage.ID]time.Time
}

func newIndexed(t *toy) *indexed {
	x := &indexed{t, make(map[storage.ID]time.Time)}
	for id, r := range t.records {
		x.dies[id] = r.DeadFrom()
	}
	t.due = func(r storage.Record, deadBefore time.Time) bool { return x.dies[r.ID].Before(deadBefore) }
	return x
}

func (x *indexed) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return x.toy.Update(ctx, subject, func(tx storage.Tx) error {
		spy := &spyTx{Tx: tx}
		err := fn(spy)
		if err == nil {
			for _, r := range spy.puts {
				x.dies[r.ID] = r.DeadFrom()
			}
		}
		return err
	})
}

// unlocked looks for the dead, and deletes them later without another look. A Touch
// and a Sweep wait a little for each other, so that they do meet.
type unlocked struct {
	*toy
	tries
	turn sync.Mutex      // of Sweeps
	meet chan struct{}   // a Sweep that has looked to a Touch that has not raised yet
	met  storage.ID      // what that Touch raises
	seen chan storage.ID // that it was read since
}

func newUnlocked(t *toy) *unlocked {
	return &unlocked{toy: t, meet: make(chan struct{}), seen: make(chan storage.ID, 1)}
}

func (u *unlocked) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	select {
	case <-u.meet:
		u.mu.Lock()
		u.met = id
		u.mu.Unlock()
	case <-time.After(u.limit()):
		u.missed.Add(1)
	}
	return u.toy.Touch(ctx, id, use)
}

func (u *unlocked) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := u.toy.Get(ctx, id)
	u.mu.Lock()
	defer u.mu.Unlock()
	if id == u.met {
		select {
		case u.seen <- id:
		default:
		}
	}
	return r, err
}

func (u *unlocked) Sweep(ctx context.Context, deadBefore time.Time, limit int) (int, error) {
	u.turn.Lock()
	defer u.turn.Unlock()
	if err := u.lock(ctx); err != nil {
		return 0, err
	}
	var dead []storage.ID
	for id, r := range u.records {
		if len(dead) < limit && u.due(r, deadBefore) {
			dead = append(dead, id)
		}
	}
	u.mu.Unlock()
	if len(dead) > 0 {
		u.pause()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	n := len(u.records)
	for _, id := range dead {
		delete(u.records, id)
	}
	return n - len(u.records), nil
}

// pause lets a Touch happen, and its effect be seen.
func (u *unlocked) pause() {
	select {
	case u.meet <- struct{}{}:
		select {
		case <-u.seen:
		case <-time.After(25 * moment):
		}
	case <-time.After(u.limit()):
		u.missed.Add(1)
	}
}

type oneMore struct{ *toy }

func (o oneMore) Sweep(ctx context.Context, deadBefore time.Time, limit int) (int, error) {
	if limit > 0 && limit < 1000 {
		limit++
	}
	return o.toy.Sweep(ctx, deadBefore, limit)
}
