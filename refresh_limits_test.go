package lapse_test

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestRefreshScope: the access text has what was asked for, in the order of the grant, the
// session keeps all of it, and too much spends nothing.
func TestRefreshScope(t *testing.T) {
	for _, row := range []struct {
		name  string
		asked []string
		want  string
		err   error
	}{
		{"nothing asked", nil, "read write:all admin", nil},
		{"empty", []string{"", " "}, "read write:all admin", nil},
		{"one", []string{"read"}, "read", nil},
		{"two in one", []string{"admin read"}, "read admin", nil},
		{"two", []string{"admin", "read"}, "read admin", nil},
		{"twice", []string{"read read", "read"}, "read", nil},
		{"all", []string{"admin read write:all"}, "read write:all admin", nil},
		{"one too many", []string{"read", "delete"}, "", lapse.ErrScope},
		{"another", []string{"delete"}, "", lapse.ErrScope},
		{"part of a word", []string{"write"}, "", lapse.ErrScope},
		{"another case", []string{"Read"}, "", lapse.ErrScope},
		{"as long as a scope can be", []string{strings.Repeat("read ", 204) + "read"}, "read", nil},
		{"longer", []string{strings.Repeat("read ", 205)}, "", lapse.ErrScope},
		{"nothing that is a scope", []string{"\"\x00"}, "", lapse.ErrScope},
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		a := p.first(lapse.Grant{Scope: "read write:all admin"})
		before := p.contents()
		b, err := p.Refresh(p.ctx, a.Refresh.Bearer, row.asked...)
		wantIs(t, row.name, err, row.err)
		if err != nil {
			wantDiff(t, row.name+": contents", before, p.contents())
			b = p.next(a) // nothing was spent
			row.want = a.Access.Scope
		}
		seen, err := p.Manager.Peek(p.ctx, b.Access.Bearer)
		wantIs(t, row.name, err, nil)
		if b.Access.Scope != row.want || seen.Scope != row.want || b.Refresh.Scope != a.Refresh.Scope || p.token(b.Access.ID).Scope != a.Refresh.Scope {
			t.Errorf("%s: access text %q, session %q", row.name, b.Access.Scope, b.Refresh.Scope)
		}
		if c := p.next(b); c.Access.Scope != a.Access.Scope {
			t.Errorf("%s: the next one has %q; want all again", row.name, c.Access.Scope)
		}
	}
}

// TestScopeOfThePreviousText: the previous access text works within the grace unless the
// new one has a word that it lacked, and has no more scope than the new one.
func TestScopeOfThePreviousText(t *testing.T) {
	for _, row := range []struct {
		before, now string
		works       bool
	}{
		{"read write", "read write", true},
		{"read write", "write read", true},
		{"read write", "read", true},
		{"read", "read", true},
		{"", "read write admin", true}, // both are all of it
		{"", "read", true},
		{"read", "read write", false},
		{"read", "write", false},
		{"read write", "", false},
		{"read", "read admin", false},
	} {
		for _, after := range []time.Duration{0, 10*time.Second - time.Millisecond, 10 * time.Second} {
			p := memoryPairs(t, lapse.PairConfig{})
			a := p.next(p.first(lapse.Grant{Scope: "read write admin"}), row.before)
			b := p.next(a, row.now)
			p.clock.add(after)
			name := fmt.Sprintf("from %q to %q, %v later", row.before, row.now, after)
			tok, err := p.Manager.Peek(p.ctx, a.Access.Bearer)
			if row.works && after < 10*time.Second {
				if err != nil || tok.Scope != b.Access.Scope {
					t.Errorf("%s: %q, %v", name, tok.Scope, err)
				}
			} else {
				wantIs(t, name, err, lapse.ErrReplaced)
			}
			p.wantAccess(name+": the new one", b, nil)
		}
	}
}

// TestRefreshScopeAgain: within the grace the same scope is given again, and another than
// the first time is ErrScope, which changes nothing. After the grace any scope is reuse.
func TestRefreshScopeAgain(t *testing.T) {
	for _, row := range []struct {
		first, again string
		same         bool
	}{
		{"read", "read", true},
		{"read write", "write  read", true},
		{"", "", true},
		{"", "read write", true},
		{"read write", "", true},
		{"read", "", false},
		{"read", "write", false},
		{"read", "read write", false},
		{"", "read", false},
		{"read", "delete", false},
		{"", "delete", false},
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		a := p.first(lapse.Grant{Scope: "read write"})
		b := p.next(a, row.first)
		before := p.contents()
		name := fmt.Sprintf("%q, then %q", row.first, row.again)
		got, err := p.Refresh(p.ctx, a.Refresh.Bearer, row.again)
		wantIs(t, name, err, map[bool]error{false: lapse.ErrScope}[row.same])
		if row.same && (got.Access.Bearer != b.Access.Bearer || got.Access.Scope != b.Access.Scope || got.Refresh.Bearer != b.Refresh.Bearer || !got.Repeated) {
			t.Errorf("%s: %+v", name, got)
		}
		wantDiff(t, name+": contents", before, p.contents())
		p.wantAccess(name, b, nil)
		p.clock.add(10 * time.Second)
		_, err = p.Refresh(p.ctx, a.Refresh.Bearer, row.again)
		wantIs(t, name+": after the grace", err, lapse.ErrReused)
		p.wantDead(a, b)
	}
}

// TestCapNeverRestarts: 200 refreshes leave the cap of the session where the log-in put
// it, and neither secret passes the cap.
func TestCapNeverRestarts(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewOnUse}},
		Refresh: lapse.Config{Policy: lapse.Policy{TTL: 2 * time.Hour, MaxTTL: 201 * time.Hour}},
	})
	c := p.first(lapse.Grant{})
	end := startMilli.Add(201 * time.Hour)
	for n := range 200 {
		p.clock.add(time.Hour)
		c = p.next(c)
		if !c.Refresh.MaxExpiresAt.Equal(end) || c.Refresh.ExpiresAt.After(end) || c.Access.ExpiresAt.After(end) || !c.Access.MaxExpiresAt.Equal(end) {
			t.Fatalf("refresh %d: %+v", n, c)
		}
	}
	p.clock.add(time.Hour - time.Millisecond)
	if tok, err := p.Authenticate(p.ctx, c.Access.Bearer); err != nil || !tok.ExpiresAt.Equal(end) {
		t.Errorf("a millisecond before the end: %+v, %v", tok, err)
	}
	c = p.next(c)
	if c.ExpiresIn != lapse.Seconds(time.Millisecond) {
		t.Errorf("a millisecond before the end: expires in %v", c.ExpiresIn)
	}
	if r := p.record(c.Refresh.ID); r.ExpiresAt.After(end) || !r.MaxExpiresAt.Equal(end) {
		t.Errorf("stored: %+v", r)
	}
	p.clock.add(time.Millisecond)
	p.wantAccess("at the end", c, lapse.ErrExpired)
	p.wantRefresh("at the end", c, lapse.ErrExpired)
}

// TestLoweredCap: a lower MaxTTL counts from the log-in; a higher one changes nothing.
func TestLoweredCap(t *testing.T) {
	days := func(n int) lapse.PairConfig {
		return lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: 24 * time.Hour, MaxTTL: time.Duration(n) * 24 * time.Hour}}}
	}
	p := newPairs(t, memory.New(), days(90))
	c := p.next(p.first(lapse.Grant{}))
	low, high := p.beside(days(7)), p.beside(days(900))
	end := startMilli.Add(7 * 24 * time.Hour)
	for range 7 {
		p.clock.add(23 * time.Hour)
		c = low.next(c)
		if !c.Refresh.MaxExpiresAt.Equal(end) {
			t.Fatalf("cap %v; want %v", c.Refresh.MaxExpiresAt, end)
		}
	}
	c = high.next(c)
	p.clock.set(end.Add(-time.Millisecond))
	if c = high.next(c); !c.Refresh.ExpiresAt.Equal(end) || !c.Refresh.MaxExpiresAt.Equal(end) {
		t.Errorf("until %v, cap %v; want %v", c.Refresh.ExpiresAt, c.Refresh.MaxExpiresAt, end)
	}
	p.clock.add(time.Millisecond)
	high.wantRefresh("at the cap", c, lapse.ErrExpired)
}

// TestCapThatOnePolicyLowers: what a policy of other Pairs keeps out is kept out by these
// alone, until they have refreshed the session.
func TestCapThatOnePolicyLowers(t *testing.T) {
	low := lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: time.Hour}}}
	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{})
	kept := p.beside(low)
	p.clock.add(time.Hour - time.Millisecond)
	_, err := kept.Pairs.Peek(p.ctx, c.Refresh.Bearer)
	wantIs(t, "before the lower cap", err, nil)
	p.clock.add(time.Millisecond)
	kept.wantRefresh("at the lower cap", c, lapse.ErrExpired)
	kept.wantSessions(t, "at the lower cap")
	p.wantSessions(t, "by the policy that made it", c.Refresh.ID)
	p.next(c)
}

// TestRefreshNeedsNoRoom: at the limit, and over one that has been lowered, a refresh
// neither fails nor ends anything.
func TestRefreshNeedsNoRoom(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		with := func(limit int) lapse.PairConfig {
			return lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: limit, AtLimit: atLimit}}}
		}
		p := memoryPairs(t, with(3))
		all := []lapse.TokenPair{p.first(lapse.Grant{}), p.first(lapse.Grant{}), p.first(lapse.Grant{})}
		for limit := 3; limit >= 1; limit-- {
			p := p.beside(with(limit))
			for range 3 {
				for i, c := range all {
					all[i] = p.next(c)
					if len(all[i].Access.Evicted)+len(all[i].Refresh.Evicted) > 0 {
						t.Fatalf("limit %d: evicted %+v", limit, all[i])
					}
				}
			}
			for _, c := range all {
				p.wantAccess("at the limit", c, nil)
			}
		}
		_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
		wantIs(t, "one more", err, map[bool]error{true: lapse.ErrLimit}[atLimit == lapse.LimitRefuse])
	}
}

// TestRefreshKeepsOneRecord: 10,000 refreshes with sweeps between them leave one record
// as large as after the first, and the text of the log-in is reuse after all of them.
func TestRefreshKeepsOneRecord(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{Retention: time.Millisecond}, Observe: func(context.Context, lapse.Event) {}},
		Refresh: lapse.Config{Policy: lapse.Policy{MaxTTL: lapse.NoLimit}},
	})
	c0 := p.first(lapse.Grant{Scope: "read write"})
	c := p.next(c0)
	sealed := p.record(c.Refresh.ID).Sealed.Len()
	for n := range 9_999 {
		p.clock.add(5 * time.Minute)
		if n%12 == 0 {
			if deleted, err := p.Sweep(p.ctx); deleted != 0 || err != nil {
				t.Fatalf("Sweep: %d, %v", deleted, err)
			}
		}
		c = p.next(c)
	}
	all := p.contents()
	if len(all) != 1 || all[0].Generation != 10_000 || all[0].Sealed.Len() != sealed {
		t.Errorf("%d records, generation %d, %d bytes sealed; want one of 10000 with %d", len(all), all[0].Generation, all[0].Sealed.Len(), sealed)
	}
	p.wantAccess("the last one", c, nil)
	p.wantRefresh("the text of the log-in", c0, lapse.ErrReused)
	p.wantDead(c0, c)
}
