package lapse_test

import (
	"context"
	"fmt"
	"iter"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestSessionsLists the live sessions that these Pairs made: when each was logged in,
// refreshed and used, until when it lives, and which device it is.
func TestSessionsLists(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}})
	laptop := p.first(lapse.Grant{Name: "laptop", Scope: "read write"})
	p.clock.Add(time.Minute)
	phone := p.first(lapse.Grant{Name: "phone", SessionTTL: 2 * time.Hour})
	p.issue(lapse.Grant{Subject: "ana"})
	_, err := p.Delegate(p.ctx, phone.Access.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate", err, nil)
	lapsetest.WantIs(t, "log-out", lapsetest.LoggedOut(p.ExpireBearer(p.ctx, p.first(lapse.Grant{Name: "tablet"}).Refresh.Bearer)), nil)
	p.first(lapse.Grant{Name: "watch", SessionTTL: time.Minute}) // it will have run out
	p.clock.Add(time.Minute)
	p.next(laptop, "read")
	p.clock.Add(time.Minute)
	_, err = p.Authenticate(p.ctx, phone.Access.Bearer)
	lapsetest.WantIs(t, "Authenticate", err, nil)

	one := laptop.Refresh.Token
	one.RotatedAt, one.Generation, one.ExpiresAt = lapsetest.StartMilli.Add(2*time.Minute), 1, lapsetest.StartMilli.Add(62*time.Minute)
	two := phone.Refresh.Token
	two.Family = two.ID // since it delegated
	two.LastUsedAt, two.ExpiresAt = lapsetest.StartMilli.Add(3*time.Minute), lapsetest.StartMilli.Add(121*time.Minute)
	var got []lapse.Token
	for tok, err := range p.Sessions(p.ctx, "ana") {
		lapsetest.WantIs(t, "Sessions", err, nil)
		got = append(got, tok)
		lapsetest.LoggedOut(p.ExpireBearer(p.ctx, p.first(lapse.Grant{Subject: "ana"}).Access.Bearer)) // the loop body may call any verb
	}
	lapsetest.WantDiff(t, "sessions", []lapse.Token{one, two}, got)

	p.clock.Set(lapsetest.Start.Add(62*time.Minute - time.Millisecond))
	p.wantSessions(t, "a millisecond before one runs out", one.ID, two.ID)
	p.clock.Add(time.Millisecond)
	p.wantSessions(t, "as it runs out", two.ID)
}

// TestSessionsErrors: a subject that cannot be is ErrInvalidGrant, and what the store says
// is the last pair.
func TestSessionsErrors(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	p.first(lapse.Grant{})
	for subject, want := range map[string]error{"": lapse.ErrInvalidGrant, "a\nb": lapse.ErrInvalidGrant, "ana": lapse.ErrUnavailable} {
		p.store.Inject(1, storagetest.FailBefore, storage.ErrUnavailable)
		n := 0
		for tok, err := range p.Sessions(p.ctx, subject) {
			n++
			lapsetest.WantIs(t, subject, err, want)
			lapsetest.WantDiff(t, "token", lapse.Token{}, tok)
		}
		if n != 1 {
			t.Errorf("%q: %d pairs; want one", subject, n)
		}
	}
}

// TestPairsPeekChangesNothing: Peek judges as Refresh would, except that a replaced text
// is ErrReplaced after its grace, and costs one read.
func TestPairsPeekChangesNothing(t *testing.T) {
	type states struct {
		session3
		p *pairs
	}
	bearer := func(c lapse.TokenPair) string { return c.Refresh.Bearer }
	for _, row := range []struct {
		name    string
		do      func(s *states)
		present func(s *states) string
		want    error
	}{
		{"current", nil, func(s *states) string { return bearer(s.current) }, nil},
		{"previous", nil, func(s *states) string { return bearer(s.previous) }, nil},
		{"previous, before the grace ends", func(s *states) { s.p.clock.Add(10*time.Second - time.Millisecond) }, func(s *states) string { return bearer(s.previous) }, nil},
		{"previous, as the grace ends", func(s *states) { s.p.clock.Add(10 * time.Second) }, func(s *states) string { return bearer(s.previous) }, lapse.ErrReplaced},
		{"spent", nil, func(s *states) string { return bearer(s.spent) }, lapse.ErrReplaced},
		{"spent, and the session ended", func(s *states) { lapsetest.LoggedOut(s.p.ExpireBearer(s.p.ctx, bearer(s.current))) }, func(s *states) string { return bearer(s.spent) }, lapse.ErrReplaced},
		{"current, before it runs out", func(s *states) { s.p.clock.Add(720*time.Hour - time.Millisecond) }, func(s *states) string { return bearer(s.current) }, nil},
		{"current, as it runs out", func(s *states) { s.p.clock.Add(720 * time.Hour) }, func(s *states) string { return bearer(s.current) }, lapse.ErrExpired},
		{"current, logged out", func(s *states) { lapsetest.LoggedOut(s.p.ExpireBearer(s.p.ctx, bearer(s.current))) }, func(s *states) string { return bearer(s.current) }, lapse.ErrRevoked},
		{"previous, logged out", func(s *states) { lapsetest.LoggedOut(s.p.ExpireBearer(s.p.ctx, bearer(s.current))) }, func(s *states) string { return bearer(s.previous) }, lapse.ErrRevoked},
		{"current, after reuse", func(s *states) { s.p.Refresh(s.p.ctx, bearer(s.spent)) }, func(s *states) string { return bearer(s.current) }, lapse.ErrRevoked},
		{"an access text", nil, func(s *states) string { return s.current.Access.Bearer }, lapse.ErrUnknown},
		{"another secret", nil, func(s *states) string { return withSecret(bearer(s.current), 3) }, lapse.ErrUnknown},
		{"malformed", nil, func(s *states) string { return bearer(s.current) + " " }, lapse.ErrMalformed},
		{"subject refused", func(s *states) { s.p.refused = lapse.ErrRefused }, func(s *states) string { return bearer(s.current) }, lapse.ErrRefused},
		{"directory down", func(s *states) { s.p.refused = errDirectory }, func(s *states) string { return bearer(s.previous) }, errDirectory},
		{"spent, subject refused", func(s *states) { s.p.refused = lapse.ErrRefused }, func(s *states) string { return bearer(s.spent) }, lapse.ErrReplaced},
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		s := &states{session3: p.session3(lapse.Grant{Scope: "read write"}), p: p}
		if row.do != nil {
			row.do(s)
		}
		before := p.contents()
		var tok lapse.Token
		var err error
		calls := p.calls(func() { tok, err = p.Pairs.Peek(p.ctx, row.present(s)) })
		lapsetest.WantIs(t, row.name, err, row.want)
		lapsetest.WantDiff(t, row.name+": contents", before, p.contents())
		if row.want != lapse.ErrMalformed {
			lapsetest.WantDiff(t, row.name+": calls", []storagetest.Op{opGet}, calls)
		}
		if want := s.current.Refresh.Token; row.want == nil && tok != want || row.want != nil && tok != (lapse.Token{}) {
			t.Errorf("%s: %+v; want %+v", row.name, tok, want)
		}
	}
}

// TestUsesOfAnAccessText raise LastUsedAt alone: neither end moves by them, whatever the
// policy says of plain tokens, and Renew, Rotate and RotateID are ErrNotRenewable.
func TestUsesOfAnAccessText(t *testing.T) {
	for _, renewal := range []lapse.Renewal{lapse.RenewDefault, lapse.RenewOnUse, lapse.RenewOnRequest, lapse.RenewNever} {
		for _, every := range []time.Duration{0, time.Minute, time.Hour} {
			p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Renewal: renewal, RenewEvery: every}}})
			c := p.first(lapse.Grant{})
			want := p.record(c.Refresh.ID)
			p.clock.Add(time.Minute)
			tok, err := p.Authenticate(p.ctx, c.Access.Bearer)
			lapsetest.WantIs(t, "Authenticate", err, nil)
			if every <= time.Minute {
				want.LastUsedAt = lapsetest.StartMilli.Add(time.Minute)
			}
			if !tok.ExpiresAt.Equal(c.Access.ExpiresAt) || !tok.LastUsedAt.Equal(want.LastUsedAt) {
				t.Errorf("Renewal %d, RenewEvery %v: until %v, used %v", renewal, every, tok.ExpiresAt, tok.LastUsedAt)
			}
			for _, overlap := range []time.Duration{0, time.Minute} {
				_, err = p.Rotate(p.ctx, c.Access.Bearer, overlap)
				lapsetest.WantIs(t, "Rotate", err, lapse.ErrNotRenewable)
				_, err = p.RotateID(p.ctx, c.Access.ID, overlap)
				lapsetest.WantIs(t, "RotateID", err, lapse.ErrNotRenewable)
			}
			_, err = p.Renew(p.ctx, c.Access.Bearer)
			lapsetest.WantIs(t, "Renew", err, lapse.ErrNotRenewable)
			lapsetest.WantDiff(t, fmt.Sprintf("Renewal %d, RenewEvery %v: stored", renewal, every), want, p.record(c.Refresh.ID))
			if kinds := eventKinds(p.events); len(kinds) != 1 || kinds[0] != lapse.EventIssued {
				t.Errorf("Renewal %d: events %v", renewal, kinds)
			}
			next := p.next(c)
			if !next.Refresh.LastUsedAt.Equal(want.LastUsedAt) {
				t.Errorf("a refresh set LastUsedAt to %v", next.Refresh.LastUsedAt)
			}
		}
	}
}

func eventKinds(events []lapse.Event) (kinds []lapse.EventKind) {
	for _, e := range events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

// TestSpentAccessTextRefusesTheSame: the verbs of a Manager say ErrReplaced of an access
// text that was replaced, Rotate ErrNotRenewable, and nothing but a log-out ends the
// session by it.
func TestSpentAccessTextRefusesTheSame(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Renewal: lapse.RenewOnRequest}}})
	s := p.session3(lapse.Grant{})
	before := p.contents()
	for _, verb := range textVerbs {
		if verb.refreshes || verb.name == "ExpireBearer" {
			continue
		}
		p.events = nil
		want := lapse.ErrReplaced
		if verb.name == "Rotate" || verb.name == "Rotate, overlap 0" {
			want = lapse.ErrNotRenewable
		}
		lapsetest.WantIs(t, verb.name, verb.do(p, s.spent.Access.Bearer), want)
		if want == lapse.ErrReplaced {
			if len(p.events) != 1 || p.events[0].Kind != lapse.EventSpent || p.events[0].Token.ID != s.spent.Access.ID {
				t.Errorf("%s: told of %+v", verb.name, p.events)
			}
		}
	}
	lapsetest.WantDiff(t, "contents", before, p.contents())
}

// TestCheckSubjectOfSessions: it is asked by Refresh, also within the grace, by Peek, and
// by what an access text is for; not by log-ins, reuse, what ends sessions, and lists.
func TestCheckSubjectOfSessions(t *testing.T) {
	for _, row := range []struct {
		name  string
		asked bool
		do    func(p *pairs, s session3) error
	}{
		{"Issue", false, func(p *pairs, _ session3) error {
			_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
			return err
		}},
		{"Refresh", true, func(p *pairs, s session3) error { _, err := p.Refresh(p.ctx, s.current.Refresh.Bearer); return err }},
		{"Refresh again", true, func(p *pairs, s session3) error { _, err := p.Refresh(p.ctx, s.previous.Refresh.Bearer); return err }},
		{"Pairs.Peek", true, func(p *pairs, s session3) error { _, err := p.Pairs.Peek(p.ctx, s.current.Refresh.Bearer); return err }},
		{"Authenticate", true, func(p *pairs, s session3) error { _, err := p.Authenticate(p.ctx, s.current.Access.Bearer); return err }},
		{"Authenticate by the previous text", true, func(p *pairs, s session3) error {
			_, err := p.Authenticate(p.ctx, s.previous.Access.Bearer)
			return err
		}},
		{"Delegate", true, func(p *pairs, s session3) error {
			_, err := p.Delegate(p.ctx, s.current.Access.Bearer, lapse.Grant{})
			return err
		}},
		{"Expire by the access text", false, func(p *pairs, s session3) error {
			return lapsetest.LoggedOut(p.ExpireBearer(p.ctx, s.current.Access.Bearer))
		}},
		{"Expire by the refresh text", false, func(p *pairs, s session3) error {
			return lapsetest.LoggedOut(p.ExpireBearer(p.ctx, s.current.Refresh.Bearer))
		}},
		{"Expire by a spent text", false, func(p *pairs, s session3) error {
			return lapsetest.LoggedOut(p.ExpireBearer(p.ctx, s.spent.Refresh.Bearer))
		}},
		{"ExpireBearer", false, func(p *pairs, s session3) error {
			_, err := p.fixture.ExpireBearer(p.ctx, s.previous.Access.Bearer)
			return err
		}},
		{"Sessions", false, func(p *pairs, s session3) error {
			for _, err := range p.Sessions(p.ctx, "ana") {
				return err
			}
			return context.Canceled
		}},
		{"reuse", false, func(p *pairs, s session3) error {
			_, err := p.Refresh(p.ctx, s.spent.Refresh.Bearer)
			return lapsetest.Ignore(err, lapse.ErrReused)
		}},
	} {
		for _, says := range []error{lapse.ErrRefused, errDirectory} {
			p := memoryPairs(t, lapse.PairConfig{})
			s := p.session3(lapse.Grant{})
			before := p.contents()
			p.refused = says
			err := row.do(p, s)
			if !row.asked {
				lapsetest.WantIs(t, row.name, err, nil)
				continue
			}
			lapsetest.WantIs(t, row.name, err, says)
			lapsetest.WantDiff(t, row.name+": contents", before, p.contents())
			p.refused = nil
			lapsetest.WantIs(t, row.name+" once the subject may", row.do(p, s), nil)
		}
	}
}

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
		p.clock.Add(5 * time.Minute)
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
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
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
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		a := p.first(lapse.Grant{})
		p.clock.Add(time.Minute)
		for _, p.refused = range []error{lapse.ErrRefused, errDirectory} {
			p.wantRefresh("refused", a, p.refused)
		}
		p.refused = nil
		b := p.next(a)
		p.refused = lapse.ErrRefused
		p.wantRefresh("refused within the grace", a, lapse.ErrRefused)
		p.clock.Add(time.Minute)
		p.wantRefresh("reuse", a, lapse.ErrReused)
		p.refused = nil
		p.wantRefresh("let in again after the reuse", b, lapse.ErrRevoked)
	})
}

// TestLogOutOfTheOthersSparesWhoAsks, by any ID of its log-in that was noted before a
// refresh.
func TestLogOutOfTheOthersSparesWhoAsks(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		mine, other := p.first(lapse.Grant{}), p.first(lapse.Grant{})
		noted := mine.Access.ID
		p.clock.Add(time.Minute)
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
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{})
		c := p.first(lapse.Grant{})
		var listed []lapse.ID
		for tok, err := range p.Tokens(p.ctx, "ana") {
			lapsetest.WantIs(t, "Tokens", err, nil)
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
		lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
			policy := lapse.Policy{MaxTokens: 2, MaxDelegates: 3, AtLimit: atLimit}
			p := quiet(t, store, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{MaxDelegates: 3}}, Refresh: lapse.Config{Policy: policy}})
			m := p.manager(lapse.Config{Prefix: "plain", Policy: policy})
			phone := p.first(lapse.Grant{Scope: "all"})
			plain, err := m.Issue(p.ctx, lapse.Grant{Subject: "ana", Scope: "all"})
			lapsetest.WantIs(t, "Issue", err, nil)
			helper, err := m.Delegate(p.ctx, plain.Bearer, lapse.Grant{})
			lapsetest.WantIs(t, "Delegate", err, nil)
			for n := range 5 {
				_, err := m.Delegate(p.ctx, helper.Bearer, lapse.Grant{})
				lapsetest.WantIs(t, "Delegate by a helper", err, map[bool]error{true: lapse.ErrLimit}[n >= 3])
				_, err = p.Delegate(p.ctx, phone.Access.Bearer, lapse.Grant{})
				lapsetest.WantIs(t, "Delegate by a session", err, map[bool]error{true: lapse.ErrLimit}[n >= 3])
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
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
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
		lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
			p := newPairs(t, store, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: atLimit}}})
			a := p.first(lapse.Grant{})
			p.clock.Add(time.Second)
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
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{
			Access:  lapse.Config{Policy: lapse.Policy{TTL: 4 * time.Hour, RenewEvery: time.Minute}},
			Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 2}},
		})
		busy := p.first(lapse.Grant{Name: "busy"})
		p.clock.Add(time.Minute)
		idle := p.first(lapse.Grant{Name: "never used"})
		for range 57 {
			p.clock.Add(time.Minute)
			_, err := p.Authenticate(p.ctx, busy.Access.Bearer)
			lapsetest.WantIs(t, "Authenticate", err, nil)
		}
		p.first(lapse.Grant{})
		p.wantAccess("the busy one", busy, nil)
		p.wantAccess("the idle one", idle, lapse.ErrRevoked)
	})
}

// TestAccessTextsAreShortLived: no use takes an access text past what ExpiresIn said, and
// what is used without being refreshed ends with its session.
func TestAccessTextsAreShortLived(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		p := newPairs(t, store, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}})
		c := p.first(lapse.Grant{})
		for at := time.Minute; at < time.Duration(c.ExpiresIn); at += time.Minute {
			p.use(c) // and a second passes
			p.clock.Set(lapsetest.Start.Add(at))
		}
		p.clock.Set(lapsetest.Start.Add(time.Duration(c.ExpiresIn)))
		p.wantAccess("as ExpiresIn said", c, lapse.ErrExpired)
		p.clock.Set(lapsetest.Start.Add(time.Hour))
		p.wantRefresh("an hour later", c, lapse.ErrExpired)
	})
}

// TestAnOverlapLocksNoClientOut: after a log-out by the new text the token is dead by the
// previous one too, takes no room, and Obtain gives another.
func TestAnOverlapLocksNoClientOut(t *testing.T) {
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		f := newPairs(t, store, lapse.PairConfig{}).fixture
		f.Manager = f.manager(lapse.Config{Prefix: "key", Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1))}, Policy: lapse.Policy{TTL: 48 * time.Hour, MaxTokens: 1}})
		a, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
		lapsetest.WantIs(t, "Obtain", err, nil)
		b := rotate(t, f, a.Bearer, 24*time.Hour)
		again, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
		if err != nil || again.Bearer != b.Bearer {
			t.Errorf("Obtain does not give the new text: %v", err)
		}
		_, err = f.ExpireBearer(f.ctx, b.Bearer)
		lapsetest.WantIs(t, "log-out", err, nil)
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
			lapsetest.WantIs(t, "NewPairs", err, nil)
			c, err := p.Issue(h.ctx, lapse.Grant{Subject: "ana"})
			lapsetest.WantIs(t, "Issue", err, nil)
			h.Manager = p.Access()
			held := h.hold(c.Access.Bearer)
			for n := range 40 {
				time.Sleep(5 * time.Minute)
				c, err = p.Refresh(h.ctx, c.Refresh.Bearer)
				lapsetest.WantIs(t, "Refresh", err, nil)
				_, err = h.Sweep(h.ctx)
				lapsetest.WantIs(t, "Sweep", err, nil)
				h.alive(fmt.Sprint("after ", n+1, " refreshes"), held)
			}
			lapsetest.WantIs(t, "log-out", lapsetest.LoggedOut(p.ExpireBearer(h.ctx, c.Refresh.Bearer)), nil)
			lapsetest.WantIs(t, "cause", h.cut("after the log-out", held, where.late), lapse.ErrRevoked)
		})
		inBubble(t, where.name+", rotated", where.open, lapse.Config{Policy: policy}, func(h *holder) {
			i := h.issue(lapse.Grant{TTL: 30 * time.Minute})
			held := h.hold(i.Bearer)
			for n := range 20 {
				next, err := h.Rotate(h.ctx, h.bearer, time.Minute)
				lapsetest.WantIs(t, "Rotate", err, nil)
				h.bearer = next.Bearer
				time.Sleep(10 * time.Minute)
				_, err = h.Authenticate(h.ctx, h.bearer)
				lapsetest.WantIs(t, "Authenticate", err, nil)
				_, err = h.Sweep(h.ctx)
				lapsetest.WantIs(t, "Sweep", err, nil)
				h.alive(fmt.Sprint("after ", n+1, " rotations"), held)
			}
			_, err := h.ExpireBearer(h.ctx, h.bearer)
			lapsetest.WantIs(t, "log-out", err, nil)
			lapsetest.WantIs(t, "cause", h.cut("after the log-out", held, where.late), lapse.ErrRevoked)
		})
	}
}

// TestHoldEndsWithTheAccessSecret: a connection opened by an access text ends when the
// session's current access secret runs out, and each refresh moves that end.
func TestHoldEndsWithTheAccessSecret(t *testing.T) {
	inBubble(t, "session", func(*testing.T) storage.Store { return memory.New() }, lapse.Config{}, func(h *holder) {
		p, err := lapse.NewPairs(h.store, lapse.PairConfig{})
		lapsetest.WantIs(t, "NewPairs", err, nil)
		c, err := p.Issue(h.ctx, lapse.Grant{Subject: "ana", TTL: time.Minute})
		lapsetest.WantIs(t, "Issue", err, nil)
		h.Manager = p.Access()
		held := h.hold(c.Access.Bearer)
		time.Sleep(50 * time.Second)
		c, err = p.Refresh(h.ctx, c.Refresh.Bearer)
		lapsetest.WantIs(t, "Refresh", err, nil)
		time.Sleep(time.Minute - time.Millisecond)
		h.alive("a millisecond before the new secret runs out", held)
		time.Sleep(time.Millisecond)
		cause := h.cut("as the new secret runs out", held, time.Second)
		lapsetest.WantIs(t, "cause", cause, lapse.ErrExpired)
		_, err = p.Refresh(h.ctx, c.Refresh.Bearer)
		lapsetest.WantIs(t, "the session", err, nil)
	})
}
