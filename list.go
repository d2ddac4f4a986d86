package lapse

import (
	"cmp"
	"context"
	"errors"
	"iter"
	"math"
	"time"

	"github.com/seed-55daa01a/lapse/internal/steady"
	"github.com/seed-55daa01a/lapse/storage"
)

// Token returns the token of id, dead or alive and of any prefix, for administrators. Token.Live
// at Manager.Now tells whether it is alive. The error is ErrNotFound if there is no such record,
// or no longer; ErrCorrupt if the record is damaged, or one above it; or another of the store's.
func (m *Manager) Token(ctx context.Context, id ID) (tok Token, err error) {
	verb := m.begin(VerbToken, &err)
	defer m.finish(ctx, &verb, &err)
	if err := m.ready(ctx, &verb); err != nil {
		return Token{}, err
	}
	rec, err := m.record(ctx, id)
	if err != nil {
		return Token{}, recordError(VerbToken, err)
	}
	tok = m.token(&rec)
	if _, err := m.clampStored(ctx, VerbToken, &tok); err != nil {
		return Token{}, err
	}
	return tok, nil
}

// List yields the tokens of every prefix that q selects, also dead ones until they are swept. A
// session comes once, with the expiry of the session. A delegate expires no later than its parent.
// Token.Live at Manager.Now tells which tokens are alive. The loop body may call any verb.
//
// With a Subject or a Within the tokens come in the order of their IDs, and each page costs as much
// as all of them. That is the order in which their issues began, to the millisecond. Without both,
// the order is that of the store. If that is a storage.Pager, as memory and bolt are, the cost of a
// page does not depend on its place. A token that is there from the first page to the last is
// yielded once, whatever changes meanwhile. The last page may be empty.
//
// An After is good for the same conditions. That of a storage.Pager is good for the same store, in
// memory and bolt until that is closed; any other names an ID. A body that breaks, and an error that
// ends the loop, leave *Next as it was, so that the same page can be read again.
//
// An error that wraps ErrCorrupt stands for one record that is damaged, or that is a delegate's with
// a damaged record above it, and the loop goes on. Any other error is the last pair: ErrInvalidQuery,
// or the store's.
func (m *Manager) List(ctx context.Context, q Query) iter.Seq2[Token, error] {
	return m.list(ctx, VerbList, q, q.checkFields(), nil)
}

// Count returns how many tokens List would yield without an error. A record that stays is never
// counted twice, whatever changes meanwhile. With an error that wraps ErrCorrupt, n is how many can
// be read, and the error stands for all damaged records. With any other error n is 0.
func (m *Manager) Count(ctx context.Context, q Query) (n int, err error) {
	if err = q.checkFields(); err == nil && q.paged() {
		err = invalidQuery("After, Limit, Next", "Count counts all that the conditions select; leave them out")
	}
	for _, failed := range m.list(ctx, VerbCount, q, err, nil) {
		switch {
		case failed == nil:
			n++
		case !errors.Is(failed, ErrCorrupt):
			return 0, failed
		case err == nil:
			err = failed
		}
	}
	return n, err
}

// list is List, which counts as the verb name, for the records for which ours returns true. invalid
// is the error of q, or nil. If ours is nil, all records count.
func (m *Manager) list(ctx context.Context, name Verb, q Query, invalid error, ours func(*storage.Record) bool) iter.Seq2[Token, error] {
	return func(yield func(Token, error) bool) {
		var first error
		verb := m.begin(name, &first)
		defer m.finish(ctx, &verb, &first)
		l := listing{m: m, ctx: ctx, verb: name, query: q, ours: ours, get: m.getter(ctx), yield: yield}
		err := invalid
		if err == nil {
			err = m.ready(ctx, &verb)
		}
		if err == nil {
			l.now, l.epoch = m.stamp()
			err = l.run()
		}
		if err != nil {
			l.give(Token{}, err)
		}
		first = l.first
	}
}

// listing is one loop of List.
type listing struct {
	m     *Manager
	ctx   context.Context
	verb  Verb
	query Query
	ours  func(*storage.Record) bool
	get   func(ID) (storage.Record, error)
	yield func(Token, error) bool
	now   time.Time
	epoch uint32 // of now
	given int    // pairs
	first error  // of the pairs
}

// run is the loop. It returns an error that is not of one record.
func (l *listing) run() error {
	pager, ok := l.m.store.(storage.Pager)
	if ok && pager.PageFor(l.m.store) && l.query.Subject == "" && l.query.Within == 0 {
		return l.runPages(pager)
	}
	return l.runInOrder()
}

// runInOrder yields the tokens that Store.List yields behind the ID in After.
func (l *listing) runInOrder() error {
	place, err := l.query.place(orderOfIDs)
	if err != nil {
		return err
	}
	var last ID
	if place != "" {
		if last, err = ParseID(place); err != nil {
			return errAfter
		}
	}
	for rec, err := range l.m.store.List(l.ctx, l.filter()) {
		if last != (ID{}) && (err == nil || damaged(err)) && rec.ID.Compare(last) <= 0 {
			continue
		}
		selected, err := l.read(&rec, err)
		switch {
		case err != nil && !errors.Is(err, ErrCorrupt):
			return err
		case !selected:
			continue
		case l.left() == 0:
			l.query.setNext(orderOfIDs, last.String())
			return nil
		case !l.give(rec.Token, err):
			return nil
		case l.left() == 0 && l.query.Next == nil:
			return nil
		}
		last = rec.ID
	}
	l.query.setNext(orderOfIDs, "")
	return nil
}

// filter returns what the query says to Store.List, which takes no instant after
// steady.LastInstant.
func (l *listing) filter() storage.Filter {
	f := storage.Filter{Subject: l.query.Subject}
	within := l.query.Within
	if last := steady.Add(l.now, within.Truncate(time.Millisecond)); within != 0 && within != NoLimit && last.UnixMilli() < steady.LastInstant {
		f.ExpiresBefore = last.Add(time.Millisecond)
	}
	return f
}

// pageSize is how many records are read at a time.
const pageSize = 256

// runPages yields the tokens of the pages of pager. The last page that it reads ends with the last
// token that it yields, so that the next loop can go on behind that page.
func (l *listing) runPages(pager storage.Pager) error {
	after, err := l.query.place(orderOfPages)
	for n := min(pageSize, l.left()); err == nil; {
		var recs []storage.Record
		var last error
		if recs, after, last = l.readPage(pager, after, n); last != nil && (len(recs) == 0 || !damaged(last)) {
			err = storeError(l.verb, last)
			break
		}
		if more, err := l.givePage(recs, last); !more {
			return err
		}
		if after == "" || l.left() == 0 {
			l.query.setNext(orderOfPages, after)
			return nil
		}
		// The next page is twice as long, so that few selected records do not take many pages. Where this
		// page gave more than a quarter of that length, the next one is as long as the loop may still yield.
		if n = min(2*n, pageSize); 4*len(recs) > n {
			n = min(pageSize, l.left())
		}
	}
	if l.query.After != "" && errors.Is(err, storage.ErrInvalidAfter) {
		return errAfter
	}
	return err
}

// readPage returns the selected records of the page of n records behind after, and what else Page
// returned. If they are more than are left, it reads a page again that ends behind the last one that
// is left.
func (l *listing) readPage(pager storage.Pager, after string, n int) (recs []storage.Record, next string, err error) {
	for {
		recs, next, err = pager.Page(l.ctx, after, n)
		selected, left := 0, l.left()
		for i := range recs {
			bad := err != nil && i == len(recs)-1
			if !bad && !l.selects(&recs[i]) {
				continue
			}
			if selected < left {
				recs[selected], n = recs[i], i+1
			}
			selected++
		}
		if selected <= left {
			return recs[:selected], next, err
		}
	}
}

// givePage yields the tokens of recs. last is the error of the last one. more is false if the loop is
// over, by its body or by an error that is not of one record.
func (l *listing) givePage(recs []storage.Record, last error) (more bool, err error) {
	for i := range recs {
		var err error
		if i == len(recs)-1 {
			err = last
		}
		selected, err := l.read(&recs[i], err)
		switch {
		case err != nil && !errors.Is(err, ErrCorrupt):
			return false, err
		case selected && !l.give(recs[i].Token, err):
			return false, nil
		}
	}
	return true, nil
}

// read has rec, which the store returned with err, show its token, and reports whether that is
// selected. An error is selected, too.
func (l *listing) read(rec *storage.Record, err error) (selected bool, _ error) {
	if err == nil && !l.selects(rec) {
		return false, nil
	}
	err = l.m.listed(l.verb, rec, err, l.get)
	return err != nil || !l.query.live() || alive(&rec.Token, l.now), err
}

// selects reports whether rec is selected by what stands in it. The records above a delegate may say
// that it is dead.
func (l *listing) selects(rec *storage.Record) bool {
	if l.m.marks.Epoch() != l.epoch { // a new one has begun: the time before may be later
		l.now, l.epoch = l.m.stamp()
	}
	return l.query.matches(rec) && (l.ours == nil || l.ours(rec)) && (!l.query.live() || alive(&rec.Token, l.now) && !spent(rec))
}

// give yields a pair and returns false if the body stops the loop.
func (l *listing) give(tok Token, err error) bool {
	l.given++
	l.first = cmp.Or(l.first, err)
	return l.yield(tok, err)
}

// left returns how many pairs the page may still have.
func (l *listing) left() int {
	if l.query.Limit == 0 {
		return math.MaxInt
	}
	return l.query.Limit - l.given
}
