package lapse_test

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// pairs is a Pairs with everything around it that a test looks at.
type pairs struct {
	*lapse.Pairs
	*fixture       // its Manager is that of the access tokens
	refused  error // what CheckSubject says
}

// newPairs makes Pairs on store; cfg's clock and observer are the fixture's.
func newPairs(t *testing.T, store storage.Store, cfg lapse.PairConfig) *pairs {
	t.Helper()
	f := &fixture{t: t, ctx: context.Background(), clock: newClock()}
	var ok bool
	if f.store, ok = store.(*storagetest.Faulty); !ok {
		f.store = storagetest.NewFaulty(store)
	}
	cfg.Access.Clock = f.clock
	if cfg.Access.Observe == nil {
		cfg.Access.Observe = func(e lapse.Event) { f.events = append(f.events, e) }
	}
	all := &pairs{fixture: f}
	cfg.Access.CheckSubject = func(context.Context, string) error { return all.refused }
	var err error
	if all.Pairs, err = lapse.NewPairs(f.store, cfg); err != nil {
		t.Fatal(err)
	}
	f.Manager = all.Access()
	return all
}

func memoryPairs(t *testing.T, cfg lapse.PairConfig) *pairs {
	t.Helper()
	return newPairs(t, memory.New(), cfg)
}

// first issues a pair for ana.
func (p *pairs) first(g lapse.Grant) lapse.Credentials {
	p.t.Helper()
	g.Subject = "ana"
	c, err := p.Pairs.Issue(p.ctx, g)
	if err != nil {
		p.t.Fatalf("Issue: %v", err)
	}
	return c
}

// next refreshes c, which must work.
func (p *pairs) next(c lapse.Credentials, scope ...string) lapse.Credentials {
	p.t.Helper()
	n, err := p.Refresh(p.ctx, c.Refresh.Bearer, scope...)
	if err != nil {
		p.t.Fatalf("Refresh: %v", err)
	}
	return n
}

// wantRefresh expects an error of Refresh, and of a nil one credentials.
func (p *pairs) wantRefresh(what string, c lapse.Credentials, want error) {
	p.t.Helper()
	got, err := p.Refresh(p.ctx, c.Refresh.Bearer)
	wantIs(p.t, what, err, want)
	if (got.Access.Bearer == "") != (err != nil) || (got.Refresh.Bearer == "") != (err != nil) {
		p.t.Errorf("%s: %v, and yet credentials %+v", what, err, got)
	}
}

// wantAccess expects an error of authenticating c's access token.
func (p *pairs) wantAccess(what string, c lapse.Credentials, want error) {
	p.t.Helper()
	_, err := p.Peek(p.ctx, c.Access.Bearer)
	wantIs(p.t, what+": access token", err, want)
}

// living returns the IDs of what lives of ana's, by their records.
func (p *pairs) living() (ids []lapse.ID) {
	p.t.Helper()
	for _, r := range p.contents() {
		if r.Live(p.clock.Now()) {
			ids = append(ids, r.ID)
		}
	}
	return ids
}

// TestPairIssue: what is answered, stored and told is one family of two.
func TestPairIssue(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	got := p.first(lapse.Grant{Name: "laptop", Scope: "read write", Data: "\x00\xff"})
	family := got.Refresh.ID
	access := lapse.Token{
		ID: got.Access.ID, Prefix: "lapse", Subject: "ana", Name: "laptop", Scope: "read write", Data: "\x00\xff", Family: family,
		IssuedAt: startMilli, ExpiresAt: startMilli.Add(30 * time.Minute), MaxExpiresAt: startMilli.Add(30 * 24 * time.Hour),
	}
	refresh := access
	refresh.ID, refresh.Prefix = family, "lapse_refresh"
	refresh.ExpiresAt, refresh.MaxExpiresAt = startMilli.Add(30*24*time.Hour), startMilli.Add(90*24*time.Hour)
	wantDiff(t, "access token", access, got.Access.Token)
	wantDiff(t, "refresh token", refresh, got.Refresh.Token)
	wantDiff(t, "stored access token", access, p.token(access.ID))
	wantDiff(t, "stored refresh token", refresh, p.token(refresh.ID))
	wantDiff(t, "events", []lapse.Event{
		{Kind: lapse.EventIssued, At: startMilli, Token: refresh},
		{Kind: lapse.EventIssued, At: startMilli, Token: access},
	}, p.events)
	if got.ExpiresIn != 30*time.Minute || got.Repeated {
		t.Errorf("expires in %v, repeated %v", got.ExpiresIn, got.Repeated)
	}
	p.wantAccess("issued", got, nil)
	_, err := p.Authenticate(p.ctx, got.Refresh.Bearer)
	wantIs(t, "the refresh token as an access token", err, lapse.ErrUnknown)
	_, err = p.Refresh(p.ctx, got.Access.Bearer)
	wantIs(t, "the access token as a refresh token", err, lapse.ErrUnknown)
}

func TestPairConfig(t *testing.T) {
	policy := func(p lapse.Policy) lapse.Config { return lapse.Config{Policy: p} }
	for _, row := range []struct {
		name string
		cfg  lapse.PairConfig
		ok   bool
	}{
		{"zero", lapse.PairConfig{}, true},
		{"no grace", lapse.PairConfig{Grace: lapse.NoGrace}, true},
		{"grace of a millisecond", lapse.PairConfig{Grace: time.Millisecond}, true},
		{"grace under a millisecond", lapse.PairConfig{Grace: time.Millisecond - 1}, false},
		{"grace negative", lapse.PairConfig{Grace: -1}, false},
		{"grace just over NoGrace", lapse.PairConfig{Grace: lapse.NoGrace + 1}, false},
		{"grace of 60 s", lapse.PairConfig{Grace: time.Minute}, true},
		{"grace over 60 s", lapse.PairConfig{Grace: time.Minute + 1}, false},
		{"grace NoLimit", lapse.PairConfig{Grace: lapse.NoLimit}, false},
		{"prefixes differ", lapse.PairConfig{Access: lapse.Config{Prefix: "a"}, Refresh: lapse.Config{Prefix: "a_b"}}, true},
		{"prefixes swapped", lapse.PairConfig{Access: lapse.Config{Prefix: "lapse_refresh"}, Refresh: lapse.Config{Prefix: "lapse"}}, true},
		{"the same prefix", lapse.PairConfig{Access: lapse.Config{Prefix: "a"}, Refresh: lapse.Config{Prefix: "a"}}, false},
		{"the other's default", lapse.PairConfig{Access: lapse.Config{Prefix: "lapse_refresh"}}, false},
		{"that of the other by default", lapse.PairConfig{Refresh: lapse.Config{Prefix: "lapse"}}, false},
		{"access prefix", lapse.PairConfig{Access: lapse.Config{Prefix: "A"}}, false},
		{"refresh prefix", lapse.PairConfig{Refresh: lapse.Config{Prefix: "a_"}}, false},
		{"access policy", lapse.PairConfig{Access: policy(lapse.Policy{TTL: -1})}, false},
		{"refresh TTL negative", lapse.PairConfig{Refresh: policy(lapse.Policy{TTL: -1})}, false},
		{"refresh TTL over 90 days", lapse.PairConfig{Refresh: policy(lapse.Policy{TTL: 2400 * time.Hour})}, true},
		{"refresh MaxTTL at the TTL", lapse.PairConfig{Refresh: policy(lapse.Policy{MaxTTL: 720 * time.Hour})}, true},
		{"refresh MaxTTL below the TTL", lapse.PairConfig{Refresh: policy(lapse.Policy{MaxTTL: 720*time.Hour - time.Millisecond})}, false},
		{"refresh MaxTTL lifted", lapse.PairConfig{Refresh: policy(lapse.Policy{MaxTTL: lapse.NoLimit})}, true},
		{"a nil clock in a Clock", lapse.PairConfig{Refresh: lapse.Config{Clock: (*stepClock)(nil)}}, false},
	} {
		p, err := lapse.NewPairs(memory.New(), row.cfg)
		if row.ok != (err == nil) || row.ok != (p != nil) {
			t.Errorf("%s: %v, %v", row.name, p, err)
		}
		if !row.ok {
			wantIs(t, row.name, err, lapse.ErrInvalidConfig)
		}
	}
	_, err := lapse.NewPairs(nil, lapse.PairConfig{})
	wantIs(t, "nil store", err, lapse.ErrInvalidConfig)
}

// TestPairGrant: a grant that cannot be leaves nothing behind.
func TestPairGrant(t *testing.T) {
	cfg := lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{MaxTTL: 4 * time.Hour}},
		Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 2 * time.Hour}},
	}
	for _, row := range []struct {
		name  string
		grant lapse.Grant
		ok    bool
	}{
		{"plain", lapse.Grant{Subject: "ana"}, true},
		{"no subject", lapse.Grant{}, false},
		{"bad scope", lapse.Grant{Subject: "ana", Scope: "a  b"}, false},
		{"one use", lapse.Grant{Subject: "ana", MaxUses: 1}, false},
		{"TTL at the family's cap", lapse.Grant{Subject: "ana", TTL: 2 * time.Hour}, true},
		{"TTL over the family's cap", lapse.Grant{Subject: "ana", TTL: 2*time.Hour + time.Millisecond}, false},
		{"TTL over the access token's cap", lapse.Grant{Subject: "ana", TTL: 4*time.Hour + time.Millisecond}, false},
		{"TTL negative", lapse.Grant{Subject: "ana", TTL: -1}, false},
	} {
		p := memoryPairs(t, cfg)
		_, err := p.Pairs.Issue(p.ctx, row.grant)
		if row.ok {
			wantIs(t, row.name, err, nil)
			continue
		}
		wantIs(t, row.name, err, lapse.ErrInvalidGrant)
		if n := len(p.contents()); n != 0 || len(p.events) != 0 {
			t.Errorf("%s: %d records and events %v", row.name, n, p.events)
		}
	}
}

// TestPairExpire: the family ends by either token, dead or alive, again and again,
// and nobody else's does.
func TestPairExpire(t *testing.T) {
	for name, of := range map[string]func(a, b lapse.Credentials) string{
		"refresh token":          func(_, b lapse.Credentials) string { return b.Refresh.Bearer },
		"access token":           func(_, b lapse.Credentials) string { return b.Access.Bearer },
		"rotated refresh token":  func(a, _ lapse.Credentials) string { return a.Refresh.Bearer },
		"access token before it": func(a, _ lapse.Credentials) string { return a.Access.Bearer },
	} {
		p := memoryPairs(t, lapse.PairConfig{})
		other := p.first(lapse.Grant{})
		a := p.first(lapse.Grant{})
		b := p.next(a)
		child, err := p.Delegate(p.ctx, b.Access.Bearer, lapse.Grant{})
		wantIs(t, name, err, nil)
		p.events = nil
		for range 3 {
			wantIs(t, name, p.Expire(p.ctx, of(a, b)), nil)
		}
		want := []lapse.ID{other.Access.ID, other.Refresh.ID}
		wantDiff(t, name+": what lives", want, p.living(), sortIDs)
		why := map[lapse.ID]lapse.EndReason{}
		for _, e := range p.events {
			why[e.Token.ID] = e.Token.EndReason
		}
		wantDiff(t, name+": told", map[lapse.ID]lapse.EndReason{
			a.Access.ID: lapse.EndExpired, b.Access.ID: lapse.EndExpired, b.Refresh.ID: lapse.EndExpired, child.ID: lapse.EndParent,
		}, why)
		p.wantRefresh(name, b, lapse.ErrExpired)
	}
}

var sortIDs = cmpopts.SortSlices(func(a, b lapse.ID) int { return a.Compare(b) })

// TestPairExpireReachesNoFurther: who holds less than the session ends less.
func TestPairExpireReachesNoFurther(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{})
	child, err := p.Delegate(p.ctx, c.Access.Bearer, lapse.Grant{})
	wantIs(t, "Delegate", err, nil)
	alone, bystander := p.issue(lapse.Grant{Subject: "ana"}), p.issue(lapse.Grant{Subject: "ana"})
	for name, bearer := range map[string]string{"delegate": child.Bearer, "token without a family": alone.Bearer} {
		wantIs(t, name, p.Expire(p.ctx, bearer), nil)
		_, err := p.Peek(p.ctx, bearer)
		wantIs(t, name, err, lapse.ErrExpired)
	}
	p.wantAccess("its family", c, nil)
	p.wantAccess("another without one", lapse.Credentials{Access: bystander}, nil)
	p.next(c)
	before := p.contents()
	for name, row := range map[string]struct {
		bearer string
		want   error
	}{
		"no token":        {"lapse_refresh", lapse.ErrMalformed},
		"foreign refresh": {memoryPairs(t, lapse.PairConfig{}).first(lapse.Grant{}).Refresh.Bearer, lapse.ErrUnknown},
		"foreign access":  {memoryPairs(t, lapse.PairConfig{}).first(lapse.Grant{}).Access.Bearer, lapse.ErrUnknown},
	} {
		wantIs(t, name, p.Expire(p.ctx, row.bearer), row.want)
	}
	wantDiff(t, "contents", before, p.contents())
}

// TestObserversOfTheirOwn: each is told of its kind of token, however it ended.
func TestObserversOfTheirOwn(t *testing.T) {
	var access, refresh []string
	to := func(told *[]string) func(lapse.Event) {
		return func(e lapse.Event) { *told = append(*told, e.Kind.String()+" "+e.Token.Prefix) }
	}
	p := memoryPairs(t, lapse.PairConfig{
		Access:  lapse.Config{Observe: to(&access)},
		Refresh: lapse.Config{Observe: to(&refresh), Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}},
		Grace:   lapse.NoGrace,
	})
	p.first(lapse.Grant{})
	c := p.first(lapse.Grant{}) // evicts the one before
	p.next(c)
	p.wantRefresh("reuse", c, lapse.ErrReused)
	i, e := "issued lapse", "ended lapse"
	wantDiff(t, "access", []string{i, e, i, e, i, e}, access)
	i, e = "issued lapse_refresh", "ended lapse_refresh"
	wantDiff(t, "refresh", []string{i, e, i, e, i, e, "rejected "}, refresh)
	if !slices.Contains(refresh, "rejected ") {
		t.Error("nobody was told of the reuse")
	}
}

// TestPairJitter: the access tokens of families that begin together do not expire
// together, and those of one family keep the life that was drawn for it.
func TestPairJitter(t *testing.T) {
	clock := newClock()
	p, err := lapse.NewPairs(memory.New(), lapse.PairConfig{Access: lapse.Config{Clock: clock}})
	if err != nil {
		t.Fatal(err)
	}
	lives := make(map[time.Duration]bool)
	for range 20 {
		c, err := p.Issue(t.Context(), lapse.Grant{Subject: "ana", TTL: time.Hour, Jitter: 0.5})
		if err != nil {
			t.Fatal(err)
		}
		lives[c.ExpiresIn] = true
		if c.ExpiresIn < 30*time.Minute || c.ExpiresIn > time.Hour {
			t.Errorf("an access token lives for %v", c.ExpiresIn)
		}
		next, err := p.Refresh(t.Context(), c.Refresh.Bearer)
		if err != nil || next.ExpiresIn != c.ExpiresIn {
			t.Errorf("%v became %v, %v", c.ExpiresIn, next.ExpiresIn, err)
		}
	}
	if len(lives) < 10 {
		t.Errorf("20 families have %d lives between them", len(lives))
	}
}
