package storagetest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"slices"

	"github.com/seed-55daa01a/lapse/storage"
)

// pageCases returns the cases for a store that is a storage.Pager.
func pageCases() []testCase {
	return []testCase{
		{"S34_each_record_once", "The pages have every record once, as Get returns it, and the last next is empty.",
			checkPagesEach},
		{"S34_whatever_changes", "A record that is there from the first page to the last is in one page, whatever changes meanwhile.",
			checkPagesMove},
		{"S34_size", "A page has n records at most; for an n under 1 it has none, and next is after.",
			checkPageSize},
		{"S34_another_after", "A text that is no next of this store is ErrInvalidAfter.",
			checkPageAfter},
		{"S34_other_errors", "With another error there are no records and no next.",
			checkPageError},
		{"S34_not_for_a_wrapper", "PageFor is true of the store itself, and false of a wrapper around it.",
			checkPageFor},
	}
}

var errNoPages = errors.New("the store lists all its records: it is no storage.Pager")

func pagerOf(s storage.Store) (storage.Pager, error) {
	p, ok := s.(storage.Pager)
	if !ok || !p.PageFor(s) {
		return nil, errNoPages
	}
	return p, nil
}

// pages returns the records of all pages of n. It calls between with each next that is not "".
func (e *env) pages(n int, between func(next string) error) (rs []storage.Record, err error) {
	p, err := pagerOf(e.store)
	if err != nil {
		return nil, err
	}
	for after, count := "", 0; ; count++ {
		page, next, err := p.Page(e.ctx, after, n)
		switch {
		case err != nil:
			return rs, fmt.Errorf("a Page of %d: %w", n, err)
		case len(page) > n:
			return rs, fmt.Errorf("a page of %d has %d records", n, len(page))
		case count > 5000:
			return rs, fmt.Errorf("%d pages of %d records, and no end", count, len(rs))
		}
		if rs, after = append(rs, page...), next; after == "" {
			return rs, nil
		}
		if err := between(next); err != nil {
			return rs, err
		}
	}
}

func nothingBetween(string) error { return nil }

func checkPagesEach(e *env) error {
	if _, err := pagerOf(e.store); err != nil {
		return err
	}
	var all []storage.Record
	check := func() error {
		var errs []error
		for _, n := range []int{1, 2, 7, 59, 60, 61, 5000} {
			got, err := e.pages(n, nothingBetween)
			errs = append(errs, err, sameRecords(fmt.Sprint("pages of ", n), sorted(all...), sorted(got...)))
		}
		return errors.Join(errs...)
	}
	if err := check(); err != nil {
		return fmt.Errorf("of an empty store: %w", err)
	}
	all = slices.Concat(e.records(30, "ana"), e.records(20, "bob"), e.records(10, "ana", ended(instant(5), storage.EndRevoked)))
	if err := e.put(all...); err != nil {
		return err
	}
	return e.andReopened(check)
}

// checkPagesMove changes records between the pages, of which some were in a page and some were not.
func checkPagesMove(e *env) error {
	if _, err := pagerOf(e.store); err != nil {
		return err
	}
	const each = 40
	stay, gone, changed := e.records(each, "ana"), e.records(each, "ana"), e.records(each, "ana")
	var mixed []storage.Record
	for i := range each {
		mixed = append(mixed, gone[i], stay[i], changed[i])
	}
	if err := e.put(mixed...); err != nil {
		return err
	}
	step := 0
	got, err := e.pages(3, func(string) error {
		i := step % each
		step++
		if step > each {
			return nil
		}
		err := e.update("ana", func(tx storage.Tx) error {
			ended(instant(5), storage.EndRevoked)(&changed[i])
			return errors.Join(tx.Delete(gone[i].ID), tx.Delete(gone[each-1-i].ID), tx.Put(changed[i]))
		})
		if errors.Is(err, storage.ErrNotFound) { // both halves of gone have met
			err = e.update("ana", puts(changed[i]))
		}
		use := storage.Use{At: stay[i].ExpiresAt, ExpiresAt: stay[i].ExpiresAt}
		return errors.Join(err, e.touch(stay[i].ID, use), e.put(e.record("bob")))
	})
	if err != nil {
		return err
	}
	times := map[storage.ID]int{}
	for i := range got {
		times[got[i].ID]++
	}
	for _, r := range slices.Concat(stay, changed) {
		if times[r.ID] != 1 {
			return fmt.Errorf("the record %v is in %d pages; want 1", r.ID, times[r.ID])
		}
	}
	return nil
}

func checkPageSize(e *env) error {
	p, err := pagerOf(e.store)
	if err != nil {
		return err
	}
	if err := e.put(e.records(5, "ana")...); err != nil {
		return err
	}
	_, next, err := p.Page(e.ctx, "", 2)
	if err != nil || next == "" {
		return fmt.Errorf("a Page: next %q, %v", next, err)
	}
	for _, after := range []string{"", next} {
		for _, n := range []int{0, -1, math.MinInt} {
			if page, got, err := p.Page(e.ctx, after, n); len(page) != 0 || got != after || err != nil {
				return fmt.Errorf("Page(%q, %d) = %d records, %q, %v; want none, %[1]q, nil", after, n, len(page), got, err)
			}
		}
	}
	return nil
}

func checkPageAfter(e *env) error {
	p, err := pagerOf(e.store)
	if err != nil {
		return err
	}
	other := e.openAnother()
	defer other.Close()
	rs := e.records(5, "ana")
	if err := errors.Join(e.put(rs...), other.Update(e.ctx, "ana", puts(rs...))); err != nil {
		return err
	}
	_, next, err := p.Page(e.ctx, "", 2)
	if err != nil || next == "" {
		return fmt.Errorf("a Page: next %q, %v", next, err)
	}
	_, foreign, err := other.(storage.Pager).Page(e.ctx, "", 2)
	if err != nil {
		return err
	}
	forged := []string{foreign, "1", rs[1].ID.String(), next + "0", next[1:], next[:len(next)-1], "0" + next}
	for i := range next {
		b := []byte(next)
		b[i] ^= 1
		forged = append(forged, string(b))
	}
	var errs []error
	for _, after := range forged {
		page, got, err := p.Page(e.ctx, after, 2)
		errs = append(errs, wants(fmt.Sprintf("Page behind %q", after), err, storage.ErrInvalidAfter), nothingWith(page, got))
	}
	page, _, err := p.Page(e.ctx, next, 2)
	return errors.Join(append(errs, err, diff("records behind the true next", 2, len(page)))...)
}

// nothingWith returns an error if a Page with an error returned more.
func nothingWith(page []storage.Record, next string) error {
	if len(page) == 0 && next == "" {
		return nil
	}
	return fmt.Errorf("an error came with %d records and next %q", len(page), next)
}

func checkPageError(e *env) error {
	p, err := pagerOf(e.store)
	if err != nil {
		return err
	}
	if err := e.put(e.records(5, "ana")...); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	page, next, err := p.Page(ctx, "", 2)
	if err := errors.Join(wants("Page with a context that has ended", err, ctx.Err()), nothingWith(page, next)); err != nil {
		return err
	}
	if err := e.store.Close(); err != nil {
		return err
	}
	page, next, err = p.Page(e.ctx, "", 2)
	return errors.Join(wants("Page of a closed store", err, storage.ErrClosed), nothingWith(page, next))
}

func checkPageFor(e *env) error {
	p, err := pagerOf(e.store)
	if err != nil {
		return err
	}
	for _, wrapper := range []storage.Store{struct{ storage.Store }{e.store}, &struct{ storage.Store }{e.store}, nil} {
		if p.PageFor(wrapper) {
			return fmt.Errorf("PageFor of %T is true", wrapper)
		}
	}
	return nil
}
