package lapse_test

import (
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// twoKinds are Pairs that share a store and the prefix of their refresh tokens, which
// is the default, and differ in that of their access tokens.
func twoKinds(t *testing.T) (guests, admins *pairs) {
	t.Helper()
	guests = memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Prefix: "guest"}})
	p, err := lapse.NewPairs(guests.store, lapse.PairConfig{Access: lapse.Config{Prefix: "admin", Clock: guests.clock}})
	if err != nil {
		t.Fatal(err)
	}
	other := *guests
	other.Pairs = p
	return guests, &other
}

// TestRefreshOfAnotherKind: a refresh token opens what its own Pairs open, at any time of
// its life, and nothing changes by presenting it to others.
func TestRefreshOfAnotherKind(t *testing.T) {
	for name, present := range map[string]func(p *pairs, c lapse.Credentials) lapse.Credentials{
		"alive": func(_ *pairs, c lapse.Credentials) lapse.Credentials { return c },
		"rotated in its turn": func(p *pairs, c lapse.Credentials) lapse.Credentials {
			p.next(c)
			return c
		},
		"a successor": func(p *pairs, c lapse.Credentials) lapse.Credentials { return p.next(c) },
	} {
		guests, admins := twoKinds(t)
		c := present(guests, guests.first(lapse.Grant{Scope: "read"}))
		before := guests.contents()
		admins.wantRefresh(name, c, lapse.ErrUnknown)
		wantDiff(t, name+": contents", before, guests.contents())
		guests.wantRefresh(name+": where it belongs", c, nil)
	}
}

// TestRefreshTokenIsNobodyElses: a Manager of their prefix replaces no refresh token, or
// it would have two successors.
func TestRefreshTokenIsNobodyElses(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{})
	m := p.manager(lapse.Config{Prefix: "lapse_refresh"})
	for range 2 {
		before := p.contents()
		for _, overlap := range []time.Duration{0, time.Minute} {
			_, err := m.Rotate(p.ctx, c.Refresh.Bearer, overlap)
			wantIs(t, "Rotate", err, lapse.ErrNotRenewable)
		}
		wantDiff(t, "contents", before, p.contents())
		c = p.next(c)
	}
	alone, err := m.Issue(p.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "Issue", err, nil)
	_, err = m.Delegate(p.ctx, alone.Bearer, lapse.Grant{}) // and now it has a family
	wantIs(t, "Delegate", err, nil)
	p.wantRefresh("the head of another family", lapse.Credentials{Refresh: alone}, lapse.ErrUnknown)
}

// TestPairExpireOfARotated: an access token that came alone ends alone, though Rotate has
// made it one of a family.
func TestPairExpireOfARotated(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	old := p.issue(lapse.Grant{Subject: "ana"})
	next := rotate(t, p.fixture, old.Bearer, time.Minute)
	child, err := p.Delegate(p.ctx, old.Bearer, lapse.Grant{})
	wantIs(t, "Delegate", err, nil)
	wantIs(t, "Expire", p.Expire(p.ctx, old.Bearer), nil)
	p.wantPeek(t, "itself", old.Bearer, lapse.ErrExpired)
	p.wantPeek(t, "its delegate", child.Bearer, lapse.ErrExpired)
	p.wantPeek(t, "its successor", next.Bearer, nil)
}
