package lapse_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
)

// textVerbs are the verbs that take a text of a session or of a plain token. refreshes
// says that the verb is for refresh texts.
var textVerbs = []struct {
	name      string
	refreshes bool
	do        func(p *pairs, bearer string) error
}{
	{"Authenticate", false, func(p *pairs, b string) error { _, err := p.Authenticate(p.ctx, b); return err }},
	{"Manager.Peek", false, func(p *pairs, b string) error { _, err := p.Manager.Peek(p.ctx, b); return err }},
	{"Hold", false, func(p *pairs, b string) error { _, _, err := opened(p.Hold(p.ctx, b)); return err }},
	{"Renew", false, func(p *pairs, b string) error { _, err := p.Renew(p.ctx, b); return err }},
	{"Rotate", false, func(p *pairs, b string) error { _, err := p.Rotate(p.ctx, b, time.Second); return err }},
	{"Rotate, overlap 0", false, func(p *pairs, b string) error { _, err := p.Rotate(p.ctx, b, 0); return err }},
	{"Delegate", false, func(p *pairs, b string) error { _, err := p.Delegate(p.ctx, b, lapse.Grant{}); return err }},
	{"ExpireBearer", false, func(p *pairs, b string) error { _, err := p.fixture.ExpireBearer(p.ctx, b); return err }},
	{"Refresh", true, func(p *pairs, b string) error { _, err := p.Refresh(p.ctx, b); return err }},
	{"Pairs.Peek", true, func(p *pairs, b string) error { _, err := p.Pairs.Peek(p.ctx, b); return err }},
	{"Pairs.ExpireBearer", true, func(p *pairs, b string) error { return loggedOut(p.ExpireBearer(p.ctx, b)) }},
}

// session3 is a session of three generations, within the grace of the last refresh.
type session3 struct{ spent, previous, current lapse.TokenPair }

func (p *pairs) session3(g lapse.Grant) session3 {
	p.t.Helper()
	s := session3{spent: p.first(g)}
	s.previous = p.next(s.spent)
	s.current = p.next(s.previous)
	return s
}

// texts returns the texts that p has given for a session, and those of a plain token and
// of a delegate, by what they are.
func (p *pairs) texts() (access, refresh map[string]string) {
	p.t.Helper()
	s := p.session3(lapse.Grant{Scope: "read"})
	child, err := p.Delegate(p.ctx, s.current.Access.Bearer, lapse.Grant{})
	wantIs(p.t, "Delegate", err, nil)
	access = map[string]string{
		"current access": s.current.Access.Bearer, "previous access": s.previous.Access.Bearer, "spent access": s.spent.Access.Bearer,
		"plain": p.issue(lapse.Grant{Subject: "ana"}).Bearer, "delegate": child.Bearer,
	}
	refresh = map[string]string{
		"current refresh": s.current.Refresh.Bearer, "previous refresh": s.previous.Refresh.Bearer, "spent refresh": s.spent.Refresh.Bearer,
	}
	return access, refresh
}

// pairKinds are Pairs that share a store with those of the default prefixes, and differ from
// them in grace, caps, limits and at least one prefix.
var pairKinds = map[string]lapse.PairConfig{
	"another access prefix":  {Access: lapse.Config{Prefix: "guest"}},
	"another refresh prefix": {Refresh: lapse.Config{Prefix: "guest_refresh"}},
	"both prefixes":          {Access: lapse.Config{Prefix: "guest"}, Refresh: lapse.Config{Prefix: "guest_refresh"}},
	"the prefixes swapped":   {Access: lapse.Config{Prefix: "lapse_refresh"}, Refresh: lapse.Config{Prefix: "lapse"}},
}

// twoKinds are Pairs of the default prefixes, and others beside them.
func twoKinds(t *testing.T, cfg lapse.PairConfig) (ours, theirs *pairs) {
	t.Helper()
	cfg.Grace = time.Minute
	cfg.Access.Policy = lapse.Policy{TTL: time.Minute, Renewal: lapse.RenewOnRequest}
	cfg.Refresh.Policy = lapse.Policy{TTL: time.Hour, MaxTTL: 2 * time.Hour, MaxTokens: 1, AtLimit: lapse.LimitEndOldest}
	ours = memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Renewal: lapse.RenewOnRequest}}})
	return ours, ours.beside(cfg)
}

// TestPairsTakeNothingOfOthers: each text of Pairs is ErrUnknown to each verb of other
// Pairs, and nothing changes by that. Where the two share the access prefix, access texts
// are good with either.
func TestPairsTakeNothingOfOthers(t *testing.T) {
	for kind, cfg := range pairKinds {
		ours, theirs := twoKinds(t, cfg)
		for _, turn := range []struct{ owner, other *pairs }{{ours, theirs}, {theirs, ours}} {
			access, refresh := turn.owner.texts()
			before := turn.owner.contents()
			for _, verb := range textVerbs {
				for name, bearer := range refresh {
					wantIs(t, fmt.Sprint(kind, ": ", verb.name, " of the ", name, " text"), verb.do(turn.other, bearer), lapse.ErrUnknown)
				}
				if cfg.Access.Prefix == "" && verb.name != "Refresh" && verb.name != "Pairs.Peek" {
					continue
				}
				for name, bearer := range access {
					wantIs(t, fmt.Sprint(kind, ": ", verb.name, " of the ", name, " text"), verb.do(turn.other, bearer), lapse.ErrUnknown)
				}
			}
			wantDiff(t, kind+": contents", before, turn.owner.contents())
		}
	}
}

// TestPairsEvictNothingOfOthers: limits, caps, lists and keep of Pairs concern the
// sessions that they made.
func TestPairsEvictNothingOfOthers(t *testing.T) {
	for kind, cfg := range pairKinds {
		ours, theirs := twoKinds(t, cfg)
		mine := ours.session3(lapse.Grant{})
		for range 3 { // of which one remains
			theirs.first(lapse.Grant{})
		}
		other := theirs.session3(lapse.Grant{})
		ours.wantSessions(t, kind, mine.current.Refresh.ID)
		theirs.wantSessions(t, kind, other.current.Refresh.ID)
		theirs.clock.add(30 * time.Minute) // over their access TTL, within their session's
		ours.wantAccess(kind, mine.current, lapse.ErrExpired)
		mine.current = ours.next(mine.current)
		theirs.clock.add(3 * time.Hour) // over their cap
		mine.current = ours.next(mine.current)
		theirs.wantSessions(t, kind)
		if cfg.Access.Prefix == "" {
			_, err := theirs.Authenticate(ours.ctx, mine.current.Access.Bearer)
			wantIs(t, kind+": by the record, not by their cap", err, nil)
		}
		want := map[bool]error{true: lapse.ErrNotRenewable, false: lapse.ErrNotFound}[cfg.Access.Prefix == ""]
		_, err := theirs.RotateID(ours.ctx, mine.current.Refresh.ID, time.Second)
		wantIs(t, kind+": RotateID", err, want)
		ended, err := theirs.Manager.Expire(ours.ctx, mine.current.Refresh.ID) // administrators end by ID
		if !ended || err != nil {
			t.Errorf("%s: Expire by ID: %v, %v", kind, ended, err)
		}
		ours.wantRefresh(kind+": ended by ID", mine.current, lapse.ErrRevoked)
	}
}

// wantSessions: the sessions of ana that p lists are those of want.
func (p *pairs) wantSessions(t *testing.T, what string, want ...lapse.ID) {
	t.Helper()
	var got []lapse.ID
	for tok, err := range p.Sessions(p.ctx, "ana") {
		if err != nil {
			t.Fatal(err)
		}
		got = append(got, tok.ID)
	}
	wantDiff(t, what+": sessions", want, got, sortIDs)
}

// TestManagersOfTheAccessPrefix authenticate access texts, as the record says: their own
// MaxTTL and MaxTokens concern plain tokens only.
func TestManagersOfTheAccessPrefix(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	m := p.manager(lapse.Config{Policy: lapse.Policy{TTL: time.Minute, MaxTTL: 2 * time.Minute, MaxTokens: 1}})
	c := p.first(lapse.Grant{})
	for range 3 {
		p.first(lapse.Grant{})
	}
	_, err := m.Issue(p.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "Issue beside four sessions", err, nil)
	_, err = m.Issue(p.ctx, lapse.Grant{Subject: "ana"})
	wantIs(t, "Issue beside a plain token", err, lapse.ErrLimit)
	p.first(lapse.Grant{}) // sessions are no plain tokens

	p.clock.add(15*time.Minute - time.Millisecond)
	tok, err := m.Authenticate(p.ctx, c.Access.Bearer)
	wantIs(t, "before the access secret runs out", err, nil)
	used := c.Access.Token
	used.LastUsedAt = startMilli.Add(15*time.Minute - time.Millisecond)
	wantDiff(t, "as another Manager sees it", used, tok)
	p.clock.add(time.Millisecond)
	_, err = m.Authenticate(p.ctx, c.Access.Bearer)
	wantIs(t, "as the access secret runs out", err, lapse.ErrExpired)
	tok, err = m.Token(p.ctx, c.Refresh.ID)
	if err != nil || !tok.ExpiresAt.Equal(c.Refresh.ExpiresAt) || !tok.MaxExpiresAt.Equal(c.Refresh.MaxExpiresAt) {
		t.Errorf("the session by its ID: %+v, %v", tok, err)
	}
	next := p.next(c)
	_, err = m.ExpireBearer(p.ctx, next.Access.Bearer)
	wantIs(t, "ExpireBearer by another Manager", err, nil)
	p.wantRefresh("logged out by another Manager", next, lapse.ErrRevoked)
}

// TestRefreshTextIsNoBearer: a Manager of the refresh prefix takes no refresh text, and
// its own tokens refresh nothing, rotated or not.
func TestRefreshTextIsNoBearer(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	s := p.session3(lapse.Grant{})
	m := p.manager(lapse.Config{Prefix: "lapse_refresh"})
	own := *p
	fixture := *p.fixture
	own.fixture, fixture.Manager = &fixture, m
	plain := own.issue(lapse.Grant{Subject: "ana"})
	rotated := rotate(t, own.fixture, plain.Bearer, time.Minute)
	child, err := own.Delegate(p.ctx, rotated.Bearer, lapse.Grant{})
	wantIs(t, "Delegate", err, nil)
	before := p.contents()
	for _, c := range []lapse.TokenPair{s.spent, s.previous, s.current} {
		for _, verb := range textVerbs {
			if !verb.refreshes {
				wantIs(t, verb.name, verb.do(&own, c.Refresh.Bearer), lapse.ErrUnknown)
			}
		}
	}
	for _, bearer := range []string{plain.Bearer, rotated.Bearer, child.Bearer} {
		for _, verb := range textVerbs {
			if verb.refreshes {
				wantIs(t, verb.name+" of a plain token", verb.do(p, bearer), lapse.ErrUnknown)
			}
		}
	}
	wantDiff(t, "contents", before, p.contents())
}
