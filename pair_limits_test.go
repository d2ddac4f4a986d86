package lapse_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// limitedPairs are Pairs with room for three sessions.
func limitedPairs(t *testing.T, atLimit lapse.AtLimit) *pairs {
	t.Helper()
	return memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 3, AtLimit: atLimit}}})
}

// TestSessionThatMakesRoom: the oldest session is the one that logged in first, whatever
// came later; the idlest goes by the latest of log-in, refresh and stored use. A session
// that is held counts as used now.
func TestSessionThatMakesRoom(t *testing.T) {
	type all = []lapse.TokenPair
	for _, row := range []struct {
		name           string
		do             func(p *pairs, s all)
		oldest, idlest int // which of three, in the order of log-in
	}{
		{"nothing happened", func(*pairs, all) {}, 0, 0},
		{"the first was refreshed", func(p *pairs, s all) { s[0] = p.next(s[0]) }, 0, 1},
		{"the first was used", func(p *pairs, s all) { p.use(s[0]) }, 0, 1},
		{"the first was peeked at", func(p *pairs, s all) {
			p.Manager.Peek(p.ctx, s[0].Access.Bearer)
			p.Pairs.Peek(p.ctx, s[0].Refresh.Bearer)
		}, 0, 0},
		{"the first two were used", func(p *pairs, s all) { p.use(s[0]); p.use(s[1]) }, 0, 2},
		{"used, then refreshed, in turn", func(p *pairs, s all) { p.use(s[2]); p.clock.add(time.Second); s[0] = p.next(s[0]); p.use(s[1]) }, 0, 2},
		{"the first was used by its previous text", func(p *pairs, s all) {
			old := s[0]
			s[0] = p.next(s[0])
			p.use(s[1])
			p.use(s[2])
			p.use(old) // it would be the latest of all
		}, 0, 0},
		{"the first is held", func(p *pairs, s all) { p.held(s[0]) }, 0, 1},
		{"the first is held by a text that was replaced since", func(p *pairs, s all) {
			p.held(s[0])
			s[0] = p.next(s[0])
			p.use(s[1])
			p.use(s[2])
		}, 0, 1},
		{"all are held", func(p *pairs, s all) { p.held(s[0]); p.held(s[2]); p.held(s[1]) }, 0, 0},
		{"a delegate of the first was used", func(p *pairs, s all) {
			child, err := p.Delegate(p.ctx, s[0].Access.Bearer, lapse.Grant{})
			wantIs(p.t, "Delegate", err, nil)
			p.clock.add(time.Second)
			_, err = p.Authenticate(p.ctx, child.Bearer)
			wantIs(p.t, "the delegate", err, nil)
		}, 0, 0},
	} {
		for atLimit, want := range map[lapse.AtLimit]int{lapse.LimitEndOldest: row.oldest, lapse.LimitEndIdlest: row.idlest, lapse.LimitDefault: row.idlest} {
			p := limitedPairs(t, atLimit)
			var release context.CancelFunc
			p.ctx, release = context.WithCancel(p.ctx)
			var s all
			for range 3 {
				s = append(s, p.first(lapse.Grant{}))
				p.clock.add(time.Second)
			}
			row.do(p, s)
			c := p.first(lapse.Grant{})
			name := fmt.Sprintf("%s, AtLimit %d", row.name, atLimit)
			wantDiff(t, name+": evicted", s[want].Refresh.ID, c.Refresh.Evicted[0])
			p.wantRefresh(name, s[want], lapse.ErrRevoked)
			for i := range s {
				if i != want {
					p.wantAccess(fmt.Sprint(name, ": the other, ", i), s[i], nil)
				}
			}
			release()
		}
	}
}

// use authenticates by the access text of c, a second after what came before.
func (p *pairs) use(c lapse.TokenPair) {
	p.t.Helper()
	p.clock.add(time.Second)
	_, err := p.Authenticate(p.ctx, c.Access.Bearer)
	wantIs(p.t, "Authenticate", err, nil)
}

// held holds a connection by the access text of c until the test ends.
func (p *pairs) held(c lapse.TokenPair) {
	p.t.Helper()
	_, _, err := opened(p.Hold(p.ctx, c.Access.Bearer))
	wantIs(p.t, "Hold", err, nil)
}

// TestSessionsAtTheLimit, before it, at it and after it: LimitRefuse changes nothing, and
// else one session makes room with all that was delegated from it.
func TestSessionsAtTheLimit(t *testing.T) {
	p := limitedPairs(t, lapse.LimitRefuse)
	for range 3 {
		c := p.first(lapse.Grant{})
		for range 4 { // these take no room
			_, err := p.Delegate(p.ctx, c.Access.Bearer, lapse.Grant{})
			wantIs(t, "Delegate", err, nil)
			p.issue(lapse.Grant{Subject: "ana"})
		}
	}
	before := p.contents()
	_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "no room", err, lapse.ErrLimit)
	wantDiff(t, "contents", before, p.contents())
	_, err = p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "bob"})
	wantIs(t, "another subject", err, nil)

	other := p.beside(lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 3, AtLimit: lapse.LimitEndOldest}}})
	p.events, other.events = nil, nil
	got := other.first(lapse.Grant{})
	if len(got.Refresh.Evicted) != 5 || len(got.Access.Evicted) != 0 {
		t.Errorf("evicted %v; want a session and its four delegates", got.Refresh.Evicted)
	}
	var reasons []lapse.EndReason
	for _, e := range other.events {
		reasons = append(reasons, e.Token.EndReason)
	}
	parent := lapse.EndParent
	wantDiff(t, "told", []lapse.EndReason{lapse.EndEvicted, parent, parent, parent, parent, 0}, reasons)
	other.wantAccess("the new one", got, nil)
}

// TestRoomOfTheDead: a session that has ended, has run out, or is kept out by a lowered
// cap takes no room.
func TestRoomOfTheDead(t *testing.T) {
	for name, end := range map[string]func(p *pairs, c lapse.TokenPair){
		"logged out": func(p *pairs, c lapse.TokenPair) { loggedOut(p.ExpireBearer(p.ctx, c.Refresh.Bearer)) },
		"reused": func(p *pairs, c lapse.TokenPair) {
			p.next(p.next(c))
			p.wantRefresh("reuse", c, lapse.ErrReused)
		},
		"ran out": func(p *pairs, _ lapse.TokenPair) { p.clock.add(time.Hour) },
	} {
		p := memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTokens: 1, AtLimit: lapse.LimitRefuse}}})
		c := p.first(lapse.Grant{})
		_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
		wantIs(t, name+": before", err, lapse.ErrLimit)
		end(p, c)
		p.wantAccess(name, p.first(lapse.Grant{}), nil)
	}
}

// TestAccessSecretRanOutTakesRoom: it is the session that counts, not its access secret.
func TestAccessSecretRanOutTakesRoom(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitRefuse}}})
	c := p.first(lapse.Grant{})
	p.clock.add(15 * time.Minute)
	p.wantAccess("at its end", c, lapse.ErrExpired)
	_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "Issue", err, lapse.ErrLimit)
	p.next(c)
}
