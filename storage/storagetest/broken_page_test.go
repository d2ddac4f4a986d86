package storagetest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/seed-55daa01a/lapse/storage"
)

// Page goes on behind an ID that the toy has returned before.
func (t *toy) Page(ctx context.Context, after string, n int) ([]storage.Record, string, error) {
	if err := t.lock(ctx); err != nil {
		return nil, "", err
	}
	defer t.mu.Unlock()
	place, ok := t.places[after]
	if !ok && after != "" {
		return nil, "", storage.ErrInvalidAfter
	}
	if n < 1 {
		return nil, after, nil
	}
	var all []storage.Record
	for id, r := range t.records {
		if !ok || id.Compare(place) > 0 {
			all = append(all, r)
		}
	}
	slices.SortFunc(all, byID)
	if len(all) <= n {
		return all, "", nil
	}
	next := fmt.Sprintf("%p.%d", t, len(t.places))
	t.places[next] = all[n-1].ID
	return all[:n], next, nil
}

func (t *toy) PageFor(store storage.Store) bool { return store == storage.Store(t) }

// paging is a toy with another Page.
type paging struct {
	*toy
	page func(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error)
}

func (p paging) Page(ctx context.Context, after string, n int) ([]storage.Record, string, error) {
	return p.page(p, ctx, after, n)
}

func (p paging) PageFor(store storage.Store) bool {
	_, itself := store.(paging)
	return itself
}

// pagingForAll is a paging that takes every store for itself.
type pagingForAll struct{ paging }

func (pagingForAll) PageFor(storage.Store) bool { return true }

func pagesLike(page func(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error)) func(*toy) storage.Store {
	return func(t *toy) storage.Store { return paging{t, page} }
}

// rightPage is the Page of the toy.
func rightPage(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error) {
	return p.toy.Page(ctx, after, n)
}

// countedPage goes on behind a number of records. A record that is deleted before makes it skip one.
func countedPage(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error) {
	_, _, err := p.toy.Page(ctx, after, 0)
	if err != nil || n < 1 {
		return nil, after, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	passed := int(p.places[after][0])
	all := slices.SortedFunc(maps.Values(p.records), byID)
	all = all[min(passed, len(all)):]
	if len(all) <= n {
		return all, "", nil
	}
	next := fmt.Sprintf("%p.%d", p.toy, len(p.places))
	p.places[next] = storage.ID{byte(passed + n)}
	return all[:n], next, nil
}

// numberedPage takes any number for an after, also one that it has not returned.
func numberedPage(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error) {
	if err := p.lock(ctx); err != nil {
		return nil, "", err
	}
	defer p.mu.Unlock()
	behind, err := storage.ParseID(after)
	if err != nil && after != "" {
		return nil, "", storage.ErrInvalidAfter
	}
	if n < 1 {
		return nil, after, nil
	}
	all := slices.SortedFunc(maps.Values(p.records), byID)
	all = slices.DeleteFunc(all, func(r storage.Record) bool { return after != "" && r.ID.Compare(behind) <= 0 })
	if len(all) <= n {
		return all, "", nil
	}
	return all[:n], all[n-1].ID.String(), nil
}

func pageFlaws() []flaw {
	type page = func(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error)
	like := func(name string, page page) flaw { return flaw{name, []string{"S34"}, pagesLike(page)} }
	return []flaw{
		{"pages_for_a_wrapper", []string{"S34"}, func(t *toy) storage.Store { return pagingForAll{paging{t, rightPage}} }},
		like("pages_by_number_of_records", countedPage),
		like("pages_behind_any_id", numberedPage),
		like("pages_hide_the_dead", func(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error) {
			rs, next, err := p.toy.Page(ctx, after, n)
			return slices.DeleteFunc(rs, func(r storage.Record) bool { return !r.EndedAt.IsZero() }), next, err
		}),
		like("pages_are_too_long", func(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error) {
			return p.toy.Page(ctx, after, n+1)
		}),
		like("pages_never_end", func(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error) {
			rs, next, err := p.toy.Page(ctx, after, n)
			if err == nil && next == "" {
				next = "again"
				p.places[next] = storage.ID{255}
			}
			return rs, next, err
		}),
		like("pages_outlive_close", func(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error) {
			rs, next, err := p.toy.Page(ctx, after, n)
			if err == storage.ErrClosed {
				err = nil
			}
			return rs, next, err
		}),
		like("page_has_records_beside_its_error", func(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error) {
			rs, next, err := p.toy.Page(ctx, after, n)
			if err == storage.ErrInvalidAfter {
				rs, next, _ = p.toy.Page(ctx, "", n)
			}
			return rs, next, err
		}),
		like("empty_page_is_the_end", func(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error) {
			rs, next, err := p.toy.Page(ctx, after, n)
			if n < 1 {
				next = ""
			}
			return rs, next, err
		}),
		like("pages_are_no_copies_of_the_records", func(p paging, ctx context.Context, after string, n int) ([]storage.Record, string, error) {
			rs, next, err := p.toy.Page(ctx, after, n)
			for i := range rs {
				rs[i].Name += strconv.Itoa(n)
			}
			return rs, next, err
		}),
	}
}
