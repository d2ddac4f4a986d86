package lapse_test

import (
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// TestRefreshScope: the access token has what was asked for, in the order of the
// grant, the refresh token keeps all of it, and too much spends nothing.
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
		if b.Access.Scope != row.want || p.token(b.Access.ID).Scope != row.want || b.Refresh.Scope != a.Refresh.Scope {
			t.Errorf("%s: access token %q, refresh token %q", row.name, b.Access.Scope, b.Refresh.Scope)
		}
		if c := p.next(b); c.Access.Scope != a.Access.Scope {
			t.Errorf("%s: the next one has %q; want all again", row.name, c.Access.Scope)
		}
	}
}

// TestRefreshScopeAgain: whoever asks again gets what there is, whatever was asked
// for, but never with a scope that the family lacks.
func TestRefreshScopeAgain(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{Scope: "read write"})
	b := p.next(a, "read")
	for _, scope := range []string{"", "read", "write", "write read"} {
		if got := p.next(a, scope); got.Access.Bearer != b.Access.Bearer || got.Access.Scope != "read" {
			t.Errorf("again with %q: %+v", scope, got)
		}
	}
	_, err := p.Refresh(p.ctx, a.Refresh.Bearer, "delete")
	wantIs(t, "again with too much", err, lapse.ErrScope)
	p.clock.add(time.Minute)
	_, err = p.Refresh(p.ctx, a.Refresh.Bearer, "delete")
	wantIs(t, "reuse with too much", err, lapse.ErrReused)
}

// TestCapNeverRestarts: 200 rotations leave the end of the family where the first
// issue put it, and neither kind of token passes it.
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
		if !c.Refresh.MaxExpiresAt.Equal(end) || c.Refresh.ExpiresAt.After(end) || c.Access.ExpiresAt.After(end) || c.Access.MaxExpiresAt.After(end) {
			t.Fatalf("rotation %d: %+v", n, c)
		}
	}
	p.clock.add(time.Hour - time.Millisecond)
	if tok, err := p.Authenticate(p.ctx, c.Access.Bearer); err != nil || !tok.ExpiresAt.Equal(end) {
		t.Errorf("a millisecond before the end: %+v, %v", tok, err)
	}
	c = p.next(c)
	if c.ExpiresIn != time.Millisecond {
		t.Errorf("a millisecond before the end: expires in %v", c.ExpiresIn)
	}
	for _, r := range p.contents() {
		if r.ExpiresAt.After(end) || r.MaxExpiresAt.After(end) || r.MaxExpiresAt.IsZero() {
			t.Errorf("stored: %+v", r)
		}
	}
	p.clock.add(time.Millisecond)
	p.wantAccess("at the end", c, lapse.ErrExpired)
	p.wantRefresh("at the end", c, lapse.ErrExpired)
}

// TestLoweredCap: a lower MaxTTL counts from the token at hand and never from a
// later one; a higher one changes nothing.
func TestLoweredCap(t *testing.T) {
	store := memory.New()
	days := func(n int) lapse.PairConfig {
		return lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: 24 * time.Hour, MaxTTL: time.Duration(n) * 24 * time.Hour}}}
	}
	p := newPairs(t, store, days(90))
	c := p.next(p.first(lapse.Grant{}))
	low := newPairs(t, store, days(7))
	for range 6 {
		low.clock.add(23 * time.Hour)
		c = low.next(c)
		if want := startMilli.Add(7 * 24 * time.Hour); !c.Refresh.MaxExpiresAt.Equal(want) {
			t.Fatalf("cap %v; want %v", c.Refresh.MaxExpiresAt, want)
		}
	}
	high := newPairs(t, store, days(900))
	high.clock.set(low.clock.Now())
	if got := high.next(c); !got.Refresh.MaxExpiresAt.Equal(c.Refresh.MaxExpiresAt) {
		t.Errorf("cap %v; want %v", got.Refresh.MaxExpiresAt, c.Refresh.MaxExpiresAt)
	}
}

// TestRotationNeedsNoRoom: at the limit of either kind, and over it since it has been
// lowered, a rotation neither fails nor ends anything of anybody else's.
func TestRotationNeedsNoRoom(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		policy := lapse.Policy{MaxTokens: 3, AtLimit: atLimit}
		cfg := lapse.PairConfig{Access: lapse.Config{Policy: policy}, Refresh: lapse.Config{Policy: policy}}
		store := memory.New()
		p := newPairs(t, store, cfg)
		all := []lapse.Credentials{p.first(lapse.Grant{}), p.first(lapse.Grant{}), p.first(lapse.Grant{})}
		for limit := 3; limit >= 1; limit-- {
			cfg.Access.Policy.MaxTokens, cfg.Refresh.Policy.MaxTokens = limit, limit
			p := newPairs(t, store, cfg)
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

// TestRotationThatGrows: a family whose access token has died meanwhile has one more
// with the next, which is subject to the limit; refused, it spends nothing.
func TestRotationThatGrows(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest} {
		p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: atLimit}}})
		a := p.first(lapse.Grant{})
		p.clock.add(30 * time.Minute)
		b := p.first(lapse.Grant{})
		before := p.contents()
		got, err := p.Refresh(p.ctx, a.Refresh.Bearer)
		if atLimit == lapse.LimitRefuse {
			wantIs(t, "no room", err, lapse.ErrLimit)
			wantDiff(t, "contents", before, p.contents())
			p.clock.add(30 * time.Minute)
			p.next(a)
			continue
		}
		wantIs(t, "room made", err, nil)
		wantDiff(t, "evicted", []lapse.ID{b.Access.ID}, got.Access.Evicted)
		p.wantAccess("evicted", b, lapse.ErrExpired)
		p.next(b) // its family lives
	}
}

// TestRotationOfWhatThePolicyKeepsOut: an access token that a lowered MaxTTL keeps out
// has no place to give up.
func TestRotationOfWhatThePolicyKeepsOut(t *testing.T) {
	store := memory.New()
	p := newPairs(t, store, lapse.PairConfig{})
	a := p.first(lapse.Grant{})
	low := newPairs(t, store, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{TTL: time.Minute, MaxTTL: time.Minute, MaxTokens: 1}}})
	low.clock.add(time.Minute)
	low.first(lapse.Grant{})
	low.wantRefresh("no room", a, lapse.ErrLimit)
}

// TestRotationGrowsMeanwhile: whether it needs room is seen anew by each run of the
// transaction.
func TestRotationGrowsMeanwhile(t *testing.T) {
	cfg := lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{MaxTokens: 1}}}
	p := memoryPairs(t, cfg)
	a := p.first(lapse.Grant{})
	cfg.Access.Clock = p.clock
	again, err := lapse.NewPairs(&twice{p.store, p.clock, 0, func() {
		p.clock.add(30 * time.Minute)
		p.first(lapse.Grant{})
	}}, cfg)
	wantIs(t, "NewPairs", err, nil)
	_, err = again.Refresh(p.ctx, a.Refresh.Bearer)
	wantIs(t, "the place was taken", err, lapse.ErrLimit)
}

// TestEvictionTakesTheFamily: the session that makes room is over as a whole.
func TestEvictionTakesTheFamily(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{MaxTokens: 2}}, // Refuse: there is room once the family is gone
		Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: lapse.LimitEndOldest}},
	})
	a := p.next(p.first(lapse.Grant{}))
	p.clock.add(time.Second)
	b := p.first(lapse.Grant{})
	p.events = nil
	c := p.first(lapse.Grant{})
	p.wantAccess("evicted", a, lapse.ErrExpired)
	p.wantRefresh("evicted", a, lapse.ErrExpired)
	if why := p.token(a.Access.ID).EndReason; why != lapse.EndEvicted {
		t.Errorf("its access token ended as %v", why)
	}
	if n := len(c.Refresh.Evicted); n != 3 { // one access token in its grace
		t.Errorf("%d evicted; want 3", n)
	}
	if p.events[0].Kind != lapse.EventEnded || p.events[0].Token.EndReason != lapse.EndEvicted {
		t.Errorf("told first: %+v", p.events[0])
	}
	p.wantAccess("the other", b, nil)
	p.wantAccess("the new one", c, nil)
}

// TestOthersKeepWhatIsSealed: what a token of another prefix keeps is nothing to Pairs.
func TestOthersKeepWhatIsSealed(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	a := p.first(lapse.Grant{})
	rec, err := p.store.Get(p.ctx, p.issue(lapse.Grant{Subject: "ana"}).ID)
	wantIs(t, "Get", err, nil)
	rec.Sealed, rec.EndedAt, rec.EndReason = storage.NewSealed("salt"), startMilli, lapse.EndRotated
	wantIs(t, "Put", p.store.Update(p.ctx, "ana", func(tx storage.Tx) error { return tx.Put(rec) }), nil)
	p.clock.add(time.Hour)
	p.next(a)
	if got, err := p.store.Get(p.ctx, rec.ID); err != nil || !got.Sealed.Equal(rec.Sealed) {
		t.Errorf("it is gone, %v", err)
	}
}

// TestSealedIsWiped: when the successor is used, and by whatever Pairs does for the
// subject after the grace; not before.
func TestSealedIsWiped(t *testing.T) {
	for _, row := range []struct {
		name string
		do   func(p *pairs, b, other lapse.Credentials)
		left int
	}{
		{"in the grace", func(p *pairs, _, other lapse.Credentials) { p.first(lapse.Grant{}) }, 1},
		{"the successor is used", func(p *pairs, b, _ lapse.Credentials) { p.next(b) }, 1}, // b's own
		{"another is issued", func(p *pairs, _, _ lapse.Credentials) { p.clock.add(10 * time.Second); p.first(lapse.Grant{}) }, 0},
		{"another is refreshed", func(p *pairs, _, o lapse.Credentials) { p.clock.add(10 * time.Second); p.next(o) }, 1},
		{"another is ended", func(p *pairs, _, o lapse.Credentials) {
			p.clock.add(10 * time.Second)
			p.Expire(p.ctx, o.Access.Bearer)
		}, 0},
		{"it is ended", func(p *pairs, b, _ lapse.Credentials) {
			p.clock.add(10 * time.Second)
			p.Expire(p.ctx, b.Access.Bearer)
		}, 0},
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		other, a := p.first(lapse.Grant{}), p.first(lapse.Grant{})
		b := p.next(a)
		row.do(p, b, other)
		n := 0
		for _, r := range p.contents() {
			if r.Sealed.Len() > len("r1lapse") {
				n++
			}
			if r.Sealed.Len() > storage.MaxSealed {
				t.Errorf("%d bytes are sealed", r.Sealed.Len())
			}
		}
		if n != row.left {
			t.Errorf("%s: %d records keep something; want %d", row.name, n, row.left)
		}
	}
}
