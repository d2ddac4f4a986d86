package lapse_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// The cases here are what users of other projects reported of theirs, played with lapse.

// counted counts transactions, and the records that these go through.
type counted struct {
	storage.Store
	seen, updates int
}

func (c *counted) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	c.updates++
	return c.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(countedTx{tx, c}) })
}

type countedTx struct {
	storage.Tx
	c *counted
}

func (tx countedTx) Get(id storage.ID) (storage.Record, error) {
	tx.c.seen++
	return tx.Tx.Get(id)
}

func (tx countedTx) Records() iter.Seq2[storage.Record, error] { return tx.c.each(tx.Tx.Records()) }

func (tx countedTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return tx.c.each(tx.Tx.Living(now))
}

func (c *counted) each(records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range records {
			c.seen++
			if !yield(r, err) {
				return
			}
		}
	}
}

// TestARefreshPaysForNothingElse: a refresh goes through one record, after 2,000 others and
// beside dead sessions and plain tokens; so does the first replay, and a later one through
// none.
func TestARefreshPaysForNothingElse(t *testing.T) {
	s := &counted{Store: memory.New()}
	p := newPairs(t, s, lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{TTL: 5 * time.Minute}, Observe: func(context.Context, lapse.Event) {}},
		Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 5}},
	})
	for range 200 {
		p.first(lapse.Grant{}) // all but 5 are evicted
		p.issue(lapse.Grant{Subject: "ana"})
	}
	c0 := p.first(lapse.Grant{})
	c := c0
	for range 2_000 {
		p.clock.add(5 * time.Minute)
		c = p.next(c)
	}
	cost := func(do func()) string {
		s.seen, s.updates = 0, 0
		do()
		return fmt.Sprint(s.updates, " over ", s.seen)
	}
	if got := cost(func() { c = p.next(c) }); got != "1 over 1" {
		t.Errorf("a refresh: %s; want 1 over 1", got)
	}
	if got := cost(func() { p.wantRefresh("the first replay", c0, lapse.ErrReused) }); got != "1 over 2" { // its end reads it once more
		t.Errorf("the first replay: %s; want 1 over 2", got)
	}
	if got := cost(func() { p.wantRefresh("a later replay", c0, lapse.ErrReused) }); got != "0 over 0" {
		t.Errorf("a later replay: %s; want 0 over 0", got)
	}
}

// TestReplayInTheSameInstant: a text that was replaced twice within one millisecond is
// spent, with a grace and without, and a dead session answers nothing as within a grace.
func TestReplayInTheSameInstant(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		for _, grace := range []time.Duration{lapse.NoGrace, 10 * time.Second} {
			p := newPairs(t, store, lapse.PairConfig{Grace: grace})
			s := p.session3(lapse.Grant{})
			p.wantRefresh("replaced twice", s.spent, lapse.ErrReused)
			p.wantNothingWorks(t, fmt.Sprint("grace ", grace), s)
		}
	})
}

// TestRefusedSubjectCannotRefresh: a refusal, or none that could be had, spends nothing;
// reuse ends the session all the same.
func TestRefusedSubjectCannotRefresh(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		a := p.first(lapse.Grant{})
		p.clock.add(time.Minute)
		for _, p.refused = range []error{lapse.ErrRefused, errDirectory} {
			p.wantRefresh("refused", a, p.refused)
		}
		p.refused = nil
		b := p.next(a)
		p.refused = lapse.ErrRefused
		p.wantRefresh("refused within the grace", a, lapse.ErrRefused)
		p.clock.add(time.Minute)
		p.wantRefresh("reuse", a, lapse.ErrReused)
		p.refused = nil
		p.wantRefresh("let in again after the reuse", b, lapse.ErrRevoked)
	})
}

// TestLogOutOfTheOthersSparesWhoAsks, by any ID of its log-in that was noted before a
// refresh.
func TestLogOutOfTheOthersSparesWhoAsks(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		mine, other := p.first(lapse.Grant{}), p.first(lapse.Grant{})
		noted := mine.Access.ID
		p.clock.add(time.Minute)
		mine = p.next(mine) // in another window
		if ended, err := p.ExpireSubject(p.ctx, "ana", noted); ended != 1 || err != nil {
			t.Errorf("ended %d, %v", ended, err)
		}
		p.wantRefresh("the other session", other, lapse.ErrRevoked)
		p.wantAccess("the session that asked", mine, nil)
		p.next(mine)
	})
}

// TestAnAdministratorEndsASession by an ID of a list, though the client refreshes between
// the list and the end.
func TestAnAdministratorEndsASession(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		c := p.first(lapse.Grant{})
		var listed []lapse.ID
		for tok, err := range p.Tokens(p.ctx, "ana") {
			wantIs(t, "Tokens", err, nil)
			listed = append(listed, tok.ID)
		}
		c = p.next(c)
		for _, id := range listed {
			ended, err := p.Manager.Expire(p.ctx, id)
			if !ended || err != nil {
				t.Errorf("Expire: %v, %v", ended, err)
			}
		}
		p.wantRefresh("the session", c, lapse.ErrRevoked)
		p.wantAccess("the session", c, lapse.ErrRevoked)
	})
}

// TestDelegatesLockNoOwnerOut: a helper without any scope can make delegates up to its
// limit, and the owner logs in beside them, with a plain token and with a session.
func TestDelegatesLockNoOwnerOut(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		onStores(t, func(t *testing.T, store *storagetest.Faulty) {
			policy := lapse.Policy{MaxTokens: 2, MaxDelegates: 3, AtLimit: atLimit}
			p := quiet(t, store, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{MaxDelegates: 3}}, Refresh: lapse.Config{Policy: policy}})
			m := p.manager(lapse.Config{Prefix: "plain", Policy: policy})
			phone := p.first(lapse.Grant{Scope: "all"})
			plain, err := m.Issue(p.ctx, lapse.Grant{Subject: "ana", Scope: "all"})
			wantIs(t, "Issue", err, nil)
			helper, err := m.Delegate(p.ctx, plain.Bearer, lapse.Grant{})
			wantIs(t, "Delegate", err, nil)
			for n := range 5 {
				_, err := m.Delegate(p.ctx, helper.Bearer, lapse.Grant{})
				wantIs(t, "Delegate by a helper", err, map[bool]error{true: lapse.ErrLimit}[n >= 3])
				_, err = p.Delegate(p.ctx, phone.Access.Bearer, lapse.Grant{})
				wantIs(t, "Delegate by a session", err, map[bool]error{true: lapse.ErrLimit}[n >= 3])
			}
			got, err := m.Issue(p.ctx, lapse.Grant{Subject: "ana"})
			if err != nil || len(got.Evicted) != 0 {
				t.Errorf("a plain token beside delegates: evicted %v, %v", got.Evicted, err)
			}
			if laptop := p.first(lapse.Grant{}); len(laptop.Refresh.Evicted) != 0 {
				t.Errorf("a session beside delegates: evicted %v", laptop.Refresh.Evicted)
			}
			p.wantAccess("the phone", phone, nil)
		})
	}
}

// TestARetryOfAnEndedSession within the grace gets no credentials that are dead.
func TestARetryOfAnEndedSession(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		a := p.first(lapse.Grant{})
		b := p.next(a)
		ended, err := p.Manager.Expire(p.ctx, b.Access.ID)
		if !ended || err != nil {
			t.Errorf("Expire: %v, %v", ended, err)
		}
		p.wantRefresh("a retry", a, lapse.ErrRevoked)
	})
}

// TestOneDeviceMeansOneDevice: with room for one session the next log-in ends the device
// before, within its grace as well, and no refresh of it comes back.
func TestOneDeviceMeansOneDevice(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitDefault, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		onStores(t, func(t *testing.T, store *storagetest.Faulty) {
			p := newPairs(t, store, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: atLimit}}})
			a := p.first(lapse.Grant{})
			p.clock.add(time.Second)
			b := p.first(lapse.Grant{})
			p.wantAccess("the first device", a, lapse.ErrRevoked)
			p.wantRefresh("the first device", a, lapse.ErrRevoked)
			p.wantAccess("the second device", b, nil)
			b1 := p.next(b)
			c := p.first(lapse.Grant{})
			p.wantRefresh("evicted, by the previous text", b, lapse.ErrRevoked)
			p.wantRefresh("evicted, by the current text", b1, lapse.ErrRevoked)
			p.wantAccess("the third device", c, nil)
		})
	}
}

// TestTheBusyOneIsNotTheIdlest: of two sessions the one that is used all the time stays,
// if it logged in first, too.
func TestTheBusyOneIsNotTheIdlest(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{
			Access:  lapse.Config{Policy: lapse.Policy{TTL: 4 * time.Hour, RenewEvery: time.Minute}},
			Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 2}},
		})
		busy := p.first(lapse.Grant{Name: "busy"})
		p.clock.add(time.Minute)
		idle := p.first(lapse.Grant{Name: "never used"})
		for range 57 {
			p.clock.add(time.Minute)
			_, err := p.Authenticate(p.ctx, busy.Access.Bearer)
			wantIs(t, "Authenticate", err, nil)
		}
		p.first(lapse.Grant{})
		p.wantAccess("the busy one", busy, nil)
		p.wantAccess("the idle one", idle, lapse.ErrRevoked)
	})
}

// TestAccessTextsAreShortLived: no use takes an access text past what ExpiresIn said, and
// what is used without being refreshed ends with its session.
func TestAccessTextsAreShortLived(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}})
		c := p.first(lapse.Grant{})
		for at := time.Minute; at < time.Duration(c.ExpiresIn); at += time.Minute {
			p.use(c) // and a second passes
			p.clock.set(start.Add(at))
		}
		p.clock.set(start.Add(time.Duration(c.ExpiresIn)))
		p.wantAccess("as ExpiresIn said", c, lapse.ErrExpired)
		p.clock.set(start.Add(time.Hour))
		p.wantRefresh("an hour later", c, lapse.ErrExpired)
	})
}

// TestAnOverlapLocksNoClientOut: after a log-out by the new text the token is dead by the
// previous one too, takes no room, and Obtain gives another.
func TestAnOverlapLocksNoClientOut(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		f := newPairs(t, store, lapse.PairConfig{}).fixture
		f.Manager = f.manager(lapse.Config{Prefix: "key", Keys: []lapse.Key{lapse.NewKey(keyOf(1))}, Policy: lapse.Policy{TTL: 48 * time.Hour, MaxTokens: 1}})
		a, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
		wantIs(t, "Obtain", err, nil)
		b := rotate(t, f, a.Bearer, 24*time.Hour)
		again, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
		if err != nil || again.Bearer != b.Bearer {
			t.Errorf("Obtain does not give the new text: %v", err)
		}
		_, err = f.ExpireBearer(f.ctx, b.Bearer)
		wantIs(t, "log-out", err, nil)
		f.wantPeek(t, "the previous text", a.Bearer, lapse.ErrRevoked)
		c, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
		if err != nil || c.ID == a.ID {
			t.Errorf("log-in after a log-out: %+v, %v", c, err)
		}
	})
}

// TestHoldOutlivesSweeps: a connection that is open for longer than the retention, while
// its client refreshes or rotates and the program sweeps, is cut by the end of its token
// and by nothing before.
func TestHoldOutlivesSweeps(t *testing.T) {
	policy := lapse.Policy{TTL: 10 * time.Minute, Retention: time.Hour}
	for _, where := range holdStores {
		inBubble(t, where.name+", session", where.open, lapse.Config{}, func(h *holder) {
			p, err := lapse.NewPairs(h.store, lapse.PairConfig{Access: lapse.Config{Policy: policy}})
			wantIs(t, "NewPairs", err, nil)
			c, err := p.Issue(h.ctx, lapse.Grant{Subject: "ana"})
			wantIs(t, "Issue", err, nil)
			h.Manager = p.Access()
			held := h.hold(c.Access.Bearer)
			for n := range 40 {
				time.Sleep(5 * time.Minute)
				c, err = p.Refresh(h.ctx, c.Refresh.Bearer)
				wantIs(t, "Refresh", err, nil)
				_, err = h.Sweep(h.ctx)
				wantIs(t, "Sweep", err, nil)
				h.alive(fmt.Sprint("after ", n+1, " refreshes"), held)
			}
			wantIs(t, "log-out", loggedOut(p.ExpireBearer(h.ctx, c.Refresh.Bearer)), nil)
			wantIs(t, "cause", h.cut("after the log-out", held, where.late), lapse.ErrRevoked)
		})
		inBubble(t, where.name+", rotated", where.open, lapse.Config{Policy: policy}, func(h *holder) {
			i := h.issue(lapse.Grant{TTL: 30 * time.Minute})
			held := h.hold(i.Bearer)
			for n := range 20 {
				next, err := h.Rotate(h.ctx, h.bearer, time.Minute)
				wantIs(t, "Rotate", err, nil)
				h.bearer = next.Bearer
				time.Sleep(10 * time.Minute)
				_, err = h.Authenticate(h.ctx, h.bearer)
				wantIs(t, "Authenticate", err, nil)
				_, err = h.Sweep(h.ctx)
				wantIs(t, "Sweep", err, nil)
				h.alive(fmt.Sprint("after ", n+1, " rotations"), held)
			}
			_, err := h.ExpireBearer(h.ctx, h.bearer)
			wantIs(t, "log-out", err, nil)
			wantIs(t, "cause", h.cut("after the log-out", held, where.late), lapse.ErrRevoked)
		})
	}
}

// TestHoldEndsWithTheAccessSecret: a connection opened by an access text ends when the
// session's current access secret runs out, and each refresh moves that end.
func TestHoldEndsWithTheAccessSecret(t *testing.T) {
	inBubble(t, "session", func(*testing.T) storage.Store { return memory.New() }, lapse.Config{}, func(h *holder) {
		p, err := lapse.NewPairs(h.store, lapse.PairConfig{})
		wantIs(t, "NewPairs", err, nil)
		c, err := p.Issue(h.ctx, lapse.Grant{Subject: "ana", TTL: time.Minute})
		wantIs(t, "Issue", err, nil)
		h.Manager = p.Access()
		held := h.hold(c.Access.Bearer)
		time.Sleep(50 * time.Second)
		c, err = p.Refresh(h.ctx, c.Refresh.Bearer)
		wantIs(t, "Refresh", err, nil)
		time.Sleep(time.Minute - time.Millisecond)
		h.alive("a millisecond before the new secret runs out", held)
		time.Sleep(time.Millisecond)
		cause := h.cut("as the new secret runs out", held, time.Second)
		wantIs(t, "cause", cause, lapse.ErrExpired)
		_, err = p.Refresh(h.ctx, c.Refresh.Bearer)
		wantIs(t, "the session", err, nil)
	})
}
