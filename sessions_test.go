package lapse_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestSessionsLists the live sessions that these Pairs made: when each was logged in,
// refreshed and used, until when it lives, and which device it is.
func TestSessionsLists(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour}}})
	laptop := p.first(lapse.Grant{Name: "laptop", Scope: "read write"})
	p.clock.add(time.Minute)
	phone := p.first(lapse.Grant{Name: "phone", SessionTTL: 2 * time.Hour})
	p.issue(lapse.Grant{Subject: "ana"})
	_, err := p.Delegate(p.ctx, phone.Access.Bearer, lapse.Grant{})
	wantIs(t, "Delegate", err, nil)
	wantIs(t, "log-out", loggedOut(p.ExpireBearer(p.ctx, p.first(lapse.Grant{Name: "tablet"}).Refresh.Bearer)), nil)
	p.first(lapse.Grant{Name: "watch", SessionTTL: time.Minute}) // it will have run out
	p.clock.add(time.Minute)
	p.next(laptop, "read")
	p.clock.add(time.Minute)
	_, err = p.Authenticate(p.ctx, phone.Access.Bearer)
	wantIs(t, "Authenticate", err, nil)

	one := laptop.Refresh.Token
	one.RotatedAt, one.Generation, one.ExpiresAt = startMilli.Add(2*time.Minute), 1, startMilli.Add(62*time.Minute)
	two := phone.Refresh.Token
	two.Family = two.ID // since it delegated
	two.LastUsedAt, two.ExpiresAt = startMilli.Add(3*time.Minute), startMilli.Add(121*time.Minute)
	var got []lapse.Token
	for tok, err := range p.Sessions(p.ctx, "ana") {
		wantIs(t, "Sessions", err, nil)
		got = append(got, tok)
		loggedOut(p.ExpireBearer(p.ctx, p.first(lapse.Grant{Subject: "ana"}).Access.Bearer)) // the loop body may call any verb
	}
	wantDiff(t, "sessions", []lapse.Token{one, two}, got)

	p.clock.set(start.Add(62*time.Minute - time.Millisecond))
	p.wantSessions(t, "a millisecond before one runs out", one.ID, two.ID)
	p.clock.add(time.Millisecond)
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
			wantIs(t, subject, err, want)
			wantDiff(t, "token", lapse.Token{}, tok)
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
		{"previous, before the grace ends", func(s *states) { s.p.clock.add(10*time.Second - time.Millisecond) }, func(s *states) string { return bearer(s.previous) }, nil},
		{"previous, as the grace ends", func(s *states) { s.p.clock.add(10 * time.Second) }, func(s *states) string { return bearer(s.previous) }, lapse.ErrReplaced},
		{"spent", nil, func(s *states) string { return bearer(s.spent) }, lapse.ErrReplaced},
		{"spent, and the session ended", func(s *states) { loggedOut(s.p.ExpireBearer(s.p.ctx, bearer(s.current))) }, func(s *states) string { return bearer(s.spent) }, lapse.ErrReplaced},
		{"current, before it runs out", func(s *states) { s.p.clock.add(720*time.Hour - time.Millisecond) }, func(s *states) string { return bearer(s.current) }, nil},
		{"current, as it runs out", func(s *states) { s.p.clock.add(720 * time.Hour) }, func(s *states) string { return bearer(s.current) }, lapse.ErrExpired},
		{"current, logged out", func(s *states) { loggedOut(s.p.ExpireBearer(s.p.ctx, bearer(s.current))) }, func(s *states) string { return bearer(s.current) }, lapse.ErrRevoked},
		{"previous, logged out", func(s *states) { loggedOut(s.p.ExpireBearer(s.p.ctx, bearer(s.current))) }, func(s *states) string { return bearer(s.previous) }, lapse.ErrRevoked},
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
		wantIs(t, row.name, err, row.want)
		wantDiff(t, row.name+": contents", before, p.contents())
		if row.want != lapse.ErrMalformed {
			wantDiff(t, row.name+": calls", []storagetest.Op{opGet}, calls)
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
			p.clock.add(time.Minute)
			tok, err := p.Authenticate(p.ctx, c.Access.Bearer)
			wantIs(t, "Authenticate", err, nil)
			if every <= time.Minute {
				want.LastUsedAt = startMilli.Add(time.Minute)
			}
			if !tok.ExpiresAt.Equal(c.Access.ExpiresAt) || !tok.LastUsedAt.Equal(want.LastUsedAt) {
				t.Errorf("Renewal %d, RenewEvery %v: until %v, used %v", renewal, every, tok.ExpiresAt, tok.LastUsedAt)
			}
			for _, overlap := range []time.Duration{0, time.Minute} {
				_, err = p.Rotate(p.ctx, c.Access.Bearer, overlap)
				wantIs(t, "Rotate", err, lapse.ErrNotRenewable)
				_, err = p.RotateID(p.ctx, c.Access.ID, overlap)
				wantIs(t, "RotateID", err, lapse.ErrNotRenewable)
			}
			_, err = p.Renew(p.ctx, c.Access.Bearer)
			wantIs(t, "Renew", err, lapse.ErrNotRenewable)
			wantDiff(t, fmt.Sprintf("Renewal %d, RenewEvery %v: stored", renewal, every), want, p.record(c.Refresh.ID))
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
		wantIs(t, verb.name, verb.do(p, s.spent.Access.Bearer), want)
		if want == lapse.ErrReplaced {
			if len(p.events) != 1 || p.events[0].Kind != lapse.EventSpent || p.events[0].Token.ID != s.spent.Access.ID {
				t.Errorf("%s: told of %+v", verb.name, p.events)
			}
		}
	}
	wantDiff(t, "contents", before, p.contents())
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
		{"Expire by the access text", false, func(p *pairs, s session3) error { return loggedOut(p.ExpireBearer(p.ctx, s.current.Access.Bearer)) }},
		{"Expire by the refresh text", false, func(p *pairs, s session3) error { return loggedOut(p.ExpireBearer(p.ctx, s.current.Refresh.Bearer)) }},
		{"Expire by a spent text", false, func(p *pairs, s session3) error { return loggedOut(p.ExpireBearer(p.ctx, s.spent.Refresh.Bearer)) }},
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
			return ignore(err, lapse.ErrReused)
		}},
	} {
		for _, says := range []error{lapse.ErrRefused, errDirectory} {
			p := memoryPairs(t, lapse.PairConfig{})
			s := p.session3(lapse.Grant{})
			before := p.contents()
			p.refused = says
			err := row.do(p, s)
			if !row.asked {
				wantIs(t, row.name, err, nil)
				continue
			}
			wantIs(t, row.name, err, says)
			wantDiff(t, row.name+": contents", before, p.contents())
			p.refused = nil
			wantIs(t, row.name+" once the subject may", row.do(p, s), nil)
		}
	}
}
