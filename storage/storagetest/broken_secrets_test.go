package storagetest

import (
	"context"
	"time"

	"github.com/seed-55daa01a/lapse/storage"
)

// storing is a flaw in what is kept of a record.
func storing(change func(r *storage.Record)) func(*toy) storage.Store {
	return tuned(func(t *toy) {
		t.stored = func(r storage.Record) storage.Record {
			change(&r)
			return r
		}
	})
}

func secretFlaws() []flaw {
	return []flaw{
		{"forgets_the_kind", []string{"S1", "S7"}, storing(func(r *storage.Record) { r.Kind = 0 })},
		{"knows_two_kinds", []string{"S1"}, storing(func(r *storage.Record) { r.Kind = min(r.Kind, storage.KindSession) })},
		{"generation_of_16_bits", []string{"S1", "S7"}, storing(func(r *storage.Record) { r.Generation &= 1<<16 - 1 })},
		{"generation_of_31_bits", []string{"S1"}, storing(func(r *storage.Record) { r.Generation &= 1<<31 - 1 })},
		{"forgets_the_rotation", []string{"S1", "S7", "S27"}, storing(func(r *storage.Record) { r.RotatedAt = time.Time{} })},
		{"forgets_until_when_the_previous_works", []string{"S1", "S7", "S27"}, storing(func(r *storage.Record) { r.PreviousUntil = time.Time{} })},
		{"forgets_when_the_user_was_present", []string{"S1", "S7"}, storing(func(r *storage.Record) { r.AuthenticatedAt = time.Time{} })},
		{"forgets_the_suspension", []string{"S1", "S7", "S33"}, storing(func(r *storage.Record) { r.SuspendedAt = time.Time{} })},
		{"forgets_the_key", []string{"S1", "S7"}, storing(func(r *storage.Record) { r.Thumbprint = storage.Thumbprint{} })},
		{"forgets_the_client", []string{"S1", "S7"}, storing(func(r *storage.Record) { r.Client = "" })},
		{"client_of_254_bytes", []string{"S1"}, storing(func(r *storage.Record) { r.Client = r.Client[:min(len(r.Client), 254)] })},
		{"thumbprint_of_31_bytes", []string{"S1", "S7"}, storing(func(r *storage.Record) { r.Thumbprint[31] = 0 })},
		{"forgets_who_ended_it", []string{"S1", "S7", "S8"}, storing(func(r *storage.Record) { r.EndedBy = "" })},
		{"forgets_the_note_of_an_end", []string{"S1", "S7", "S8"}, storing(func(r *storage.Record) { r.EndNote = "" })},
		{"notes_254_bytes", []string{"S1"}, storing(func(r *storage.Record) { r.EndNote = r.EndNote[:min(len(r.EndNote), 254)] })},
		{"binds_to_another_key", []string{"S7"}, tuned(func(t *toy) {
			t.check = func(subject string, old *storage.Record, r storage.Record) error {
				if old != nil {
					r.Thumbprint = old.Thumbprint
				}
				return storage.CheckPut(subject, old, r)
			}
		})},
		{"notes_an_end_that_there_is_not", []string{"S8"}, tuned(func(t *toy) {
			t.check = func(subject string, old *storage.Record, r storage.Record) error {
				if r.EndedAt.IsZero() {
					r.EndedBy, r.EndNote = "", ""
				}
				return storage.CheckPut(subject, old, r)
			}
		})},
		{"notes_an_end_later", []string{"S8"}, tuned(func(t *toy) {
			t.check = func(subject string, old *storage.Record, r storage.Record) error {
				if old != nil && !old.EndedAt.IsZero() {
					r.EndedBy, r.EndNote = old.EndedBy, old.EndNote
				}
				return storage.CheckPut(subject, old, r)
			}
		})},
		{"rotated_in_nanoseconds", []string{"S1"}, storing(func(r *storage.Record) {
			if !r.RotatedAt.IsZero() {
				r.RotatedAt = time.Unix(0, r.RotatedAt.UnixNano()).UTC()
			}
		})},
		{"seals_1024_bytes", []string{"S1"}, storing(func(r *storage.Record) { r.Sealed = storage.NewSealed(r.Sealed.Text()[:min(r.Sealed.Len(), 1024)]) })},
		{"keeps_the_first_digest", []string{"S7", "S27"}, func(t *toy) storage.Store { return cached{t, make(map[storage.ID]storage.Record)} }},
		{"tears_digest_and_sealed", []string{"S27"}, func(t *toy) storage.Store { return torn{t, make(chan struct{})} }},
		{"touch_passes_the_cap", []string{"S11"}, func(t *toy) storage.Store { return uncapped{t} }},
		{"late_touch_passes_the_cap", []string{"S6", "S11", "S29", "S31"}, func(t *toy) storage.Store { return &lateUncapped{t, make(map[storage.ID]storage.Use)} }},
		{"put_lowers_without_a_cap", []string{"S29"}, tuned(func(t *toy) {
			t.check = func(subject string, old *storage.Record, r storage.Record) error {
				if old != nil && old.Subject == subject {
					r.ExpiresAt = old.ExpiresAt
				}
				return storage.CheckPut(subject, old, r)
			}
		})},
		{"put_lowers_under_any_cap", []string{"S29"}, tuned(func(t *toy) {
			t.check = func(subject string, old *storage.Record, r storage.Record) error {
				if !r.MaxExpiresAt.IsZero() {
					r.MaxExpiresAt = r.ExpiresAt
				}
				return storage.CheckPut(subject, old, r)
			}
		})},
	}
}

// cached has Get answer with the digest that it read first.
type cached struct {
	*toy
	first map[storage.ID]storage.Record
}

func (c cached) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := c.toy.Get(ctx, id)
	if err != nil {
		return r, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, known := c.first[id]; !known {
		c.first[id] = r
	}
	r.Digest = c.first[id].Digest
	return r, nil
}

// torn reads the digest, and what is sealed after the next Update that replaces it.
type torn struct {
	*toy
	updated chan struct{}
}

func (t torn) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	err := t.toy.Update(ctx, subject, fn)
	select {
	case t.updated <- struct{}{}:
	default:
	}
	return err
}

func (t torn) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := t.toy.Get(ctx, id)
	if err != nil || r.Sealed.Len() == 0 {
		return r, err
	}
	const atMost = 50 * time.Millisecond // for callers beside whom no Update runs
	for enough := time.After(atMost); ; {
		select {
		case <-enough:
			return r, nil
		case <-t.updated:
		}
		if later, err := t.toy.Get(ctx, id); err != nil || !r.Sealed.Equal(later.Sealed) {
			r.Sealed = later.Sealed
			return r, err
		}
	}
}

// uncapped raises to whatever a Touch says.
type uncapped struct{ *toy }

func (u uncapped) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	if err := u.lock(ctx); err != nil {
		return err
	}
	defer u.mu.Unlock()
	if r, ok := u.records[id]; ok {
		limit := r.MaxExpiresAt
		r.MaxExpiresAt = time.Time{}
		use.Raise(&r)
		r.MaxExpiresAt = limit
		u.records[id] = r
	}
	return nil
}

// lateUncapped writes on Close what was touched, to whatever the Touch was allowed then.
type lateUncapped struct {
	*toy
	uses map[storage.ID]storage.Use
}

func (l *lateUncapped) Touch(ctx context.Context, id storage.ID, use storage.Use) error {
	err := l.toy.Touch(ctx, id, use)
	l.mu.Lock()
	defer l.mu.Unlock()
	if r, ok := l.records[id]; ok && err == nil && r.EndedAt.IsZero() && r.ExpiresAt.After(l.uses[id].ExpiresAt) {
		l.uses[id] = storage.Use{ExpiresAt: r.ExpiresAt}
	}
	return err
}

func (l *lateUncapped) Close() error {
	l.mu.Lock()
	for id, use := range l.uses {
		if r, ok := l.records[id]; ok && r.EndedAt.IsZero() && use.ExpiresAt.After(r.ExpiresAt) {
			r.ExpiresAt = use.ExpiresAt
			l.records[id] = r
		}
	}
	l.mu.Unlock()
	return l.toy.Close()
}
