package storagetest

import (
	"context"
	"iter"
	"slices"
	"time"
	"unsafe"

	"github.com/seed-55daa01a/lapse/storage"
)

func readFlaws() []flaw {
	return []flaw{
		{"hands_out_its_pages", []string{"S3"}, func(t *toy) storage.Store { return &paged{toy: t} }},
		{"get_asks_the_clock", []string{"S1", "S2"}, func(t *toy) storage.Store { return hiding{t} }},
		{"list_of_a_subject_hides_the_ended", []string{"S14"}, func(t *toy) storage.Store { return hidingList{t} }},
		{"list_is_out_of_order", []string{"S14"}, func(t *toy) storage.Store { return backwards{t} }},
		{"list_holds_the_lock", []string{"S15"}, func(t *toy) storage.Store { return lockingList{t, false} }},
		{"stopped_list_holds_the_lock", []string{"S15"}, func(t *toy) storage.Store { return lockingList{t, true} }},
	}
}

// paged hands out strings that lie in its pages, and writes these over some commits
// later. Like bbolt, it copies as long as it is small.
type paged struct {
	*toy
	pages  []page
	writes int
}

type page struct {
	bytes   []byte
	freedAt int // writes
}

func (p *paged) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := p.toy.Get(ctx, id)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil || len(p.records) < 64 || r.Data == "" {
		return r, err
	}
	bytes := []byte(r.Data)
	p.pages = append(p.pages, page{bytes, p.writes + 48})
	r.Data = unsafe.String(&bytes[0], len(bytes))
	return r, nil
}

func (p *paged) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	if err := p.toy.Update(ctx, subject, fn); err != nil {
		return err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.writes++
	for _, page := range p.pages {
		if page.freedAt == p.writes {
			copy(page.bytes, "another record")
		}
	}
	return nil
}

// hiding takes what has run out for gone.
type hiding struct{ *toy }

func (h hiding) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := h.toy.Get(ctx, id)
	now := instant(0).Add(-time.Hour)
	if err == nil && !r.ExpiresAt.IsZero() && r.ExpiresAt.Before(now) {
		return storage.Record{}, storage.ErrNotFound
	}
	return r, err
}

type hidingList struct{ *toy }

func (h hidingList) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range h.toy.List(ctx, f) {
			if f.Subject != "" && !r.EndedAt.IsZero() {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// backwards lists everything in the wrong order.
type backwards struct{ *toy }

func (b backwards) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	if f != (storage.Filter{}) {
		return b.toy.List(ctx, f)
	}
	return func(yield func(storage.Record, error) bool) {
		var rs []storage.Record
		for r, err := range b.toy.List(ctx, f) {
			if err != nil {
				yield(r, err)
				return
			}
			rs = append(rs, r)
		}
		for _, r := range slices.Backward(rs) {
			if !yield(r, nil) {
				return
			}
		}
	}
}

// lockingList keeps others out while the loop runs, or, if it forgets the lock,
// once the loop was stopped.
type lockingList struct {
	*toy
	forgets bool
}

func (l lockingList) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		var rs []storage.Record
		for r, err := range l.toy.List(ctx, f) {
			if err != nil {
				yield(r, err)
				return
			}
			rs = append(rs, r)
		}
		if !l.forgets {
			l.mu.Lock()
			defer l.mu.Unlock()
		}
		for _, r := range rs {
			if !yield(r, nil) {
				if l.forgets {
					l.mu.Lock()
				}
				return
			}
		}
	}
}
