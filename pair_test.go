package lapse_test

import (
	"context"
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
	*fixture       // its Manager is that of the access texts
	refused  error // what Admit says
}

// newPairs makes Pairs on store; cfg's clock and observer are the fixture's.
func newPairs(t *testing.T, store storage.Store, cfg lapse.PairConfig) *pairs {
	t.Helper()
	f := &fixture{t: t, ctx: context.Background(), clock: newClock()}
	var ok bool
	if f.store, ok = store.(*storagetest.Faulty); !ok {
		f.store = storagetest.NewFaulty(store)
	}
	all := &pairs{fixture: f}
	all.Pairs = all.others(cfg)
	f.Manager = all.Access()
	return all
}

// others makes other Pairs on the same store and clock, with the same observer.
func (p *pairs) others(cfg lapse.PairConfig) *lapse.Pairs {
	p.t.Helper()
	cfg.Access.Clock = p.clock
	if cfg.Access.Observe == nil {
		cfg.Access.Observe = func(_ context.Context, e lapse.Event) { p.events = append(p.events, e) }
	}
	cfg.Access.Admit = func(context.Context, lapse.Token) error { return p.refused }
	made, err := lapse.NewPairs(p.store, cfg)
	if err != nil {
		p.t.Fatal(err)
	}
	return made
}

// beside returns other Pairs on the same store and clock as p is one.
func (p *pairs) beside(cfg lapse.PairConfig) *pairs {
	p.t.Helper()
	f := *p.fixture
	other := &pairs{fixture: &f}
	other.Pairs = other.others(cfg)
	f.Manager = other.Access()
	return other
}

func memoryPairs(t *testing.T, cfg lapse.PairConfig) *pairs {
	t.Helper()
	return newPairs(t, memory.New(), cfg)
}

// first logs ana in.
func (p *pairs) first(g lapse.Grant) lapse.TokenPair {
	p.t.Helper()
	g.Subject = "ana"
	c, err := p.Pairs.Issue(p.ctx, g)
	if err != nil {
		p.t.Fatalf("Issue: %v", err)
	}
	return c
}

// next refreshes c, which must work.
func (p *pairs) next(c lapse.TokenPair, scope ...string) lapse.TokenPair {
	p.t.Helper()
	n, err := p.Refresh(p.ctx, c.Refresh.Bearer, scope...)
	if err != nil {
		p.t.Fatalf("Refresh: %v", err)
	}
	return n
}

// wantRefresh expects an error of Refresh, and of a nil one credentials.
func (p *pairs) wantRefresh(what string, c lapse.TokenPair, want error) {
	p.t.Helper()
	got, err := p.Refresh(p.ctx, c.Refresh.Bearer)
	wantIs(p.t, what, err, want)
	if (got.Access.Bearer == "") != (err != nil) || (got.Refresh.Bearer == "") != (err != nil) {
		p.t.Errorf("%s: %v, and yet credentials %+v", what, err, got)
	}
}

// wantAccess expects an error of authenticating by c's access text.
func (p *pairs) wantAccess(what string, c lapse.TokenPair, want error) {
	p.t.Helper()
	_, err := p.Manager.Peek(p.ctx, c.Access.Bearer)
	wantIs(p.t, what+": access text", err, want)
}

// record returns the record of id as it is stored.
func (p *pairs) record(id lapse.ID) storage.Record {
	p.t.Helper()
	r, err := p.store.Get(p.ctx, id)
	if err != nil {
		p.t.Fatalf("Get: %v", err)
	}
	return r
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

var sortIDs = cmpopts.SortSlices(func(a, b lapse.ID) int { return a.Compare(b) })

// TestPairIssue: a log-in is answered with two texts of one session, stores one record,
// and is told once.
func TestPairIssue(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	got := p.first(lapse.Grant{Name: "laptop", Scope: "read write", Data: "\x00\xff"})
	session := lapse.Token{
		ID: got.Refresh.ID, Kind: lapse.KindSession, Prefix: "lapse", Subject: "ana", Name: "laptop", Scope: "read write", Data: "\x00\xff",
		IssuedAt: startMilli, ExpiresAt: startMilli.Add(30 * 24 * time.Hour), MaxExpiresAt: startMilli.Add(90 * 24 * time.Hour),
	}
	access := session
	access.ExpiresAt = startMilli.Add(15 * time.Minute)
	wantDiff(t, "by the access text", access, got.Access.Token)
	wantDiff(t, "by the refresh text", session, got.Refresh.Token)
	wantDiff(t, "stored", session, p.token(session.ID))
	wantDiff(t, "events", []lapse.Event{{Kind: lapse.EventIssued, At: startMilli, Token: session}}, p.events)
	if n := len(p.contents()); n != 1 || got.ExpiresIn != lapse.Seconds(15*time.Minute) || got.Repeated {
		t.Errorf("%d records, expires in %v, repeated %v", n, got.ExpiresIn, got.Repeated)
	}
	seen, err := p.Manager.Peek(p.ctx, got.Access.Bearer)
	wantIs(t, "Peek", err, nil)
	wantDiff(t, "authenticated", access, seen)
	_, err = p.Authenticate(p.ctx, got.Refresh.Bearer)
	wantIs(t, "the refresh text to authenticate with", err, lapse.ErrUnknown)
	_, err = p.Refresh(p.ctx, got.Access.Bearer)
	wantIs(t, "the access text to refresh with", err, lapse.ErrUnknown)
}

// TestZeroPairConfigRenewsNoPlainToken: plain tokens of Access() live for their TTL, and
// as many as are wanted, unless Access says otherwise.
func TestZeroPairConfigRenewsNoPlainToken(t *testing.T) {
	for _, row := range []struct {
		renewal lapse.Renewal
		renews  bool
	}{{lapse.RenewDefault, false}, {lapse.RenewNever, false}, {lapse.RenewOnUse, true}} {
		p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Renewal: row.renewal}}})
		for range 150 {
			p.issue(lapse.Grant{Subject: "ana"})
		}
		plain := p.issue(lapse.Grant{Subject: "ana"})
		p.clock.add(15*time.Minute - time.Millisecond)
		tok, err := p.Authenticate(p.ctx, plain.Bearer)
		wantIs(t, "a plain token", err, nil)
		if renewed := tok.ExpiresAt.After(plain.ExpiresAt); renewed != row.renews || !plain.ExpiresAt.Equal(startMilli.Add(15*time.Minute)) {
			t.Errorf("Renewal %d: renewed %v, first until %v", row.renewal, renewed, plain.ExpiresAt)
		}
	}
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
		{"grace below the access TTL", lapse.PairConfig{Access: policy(lapse.Policy{TTL: time.Second}), Grace: time.Second - time.Millisecond}, true},
		{"grace at the access TTL", lapse.PairConfig{Access: policy(lapse.Policy{TTL: time.Second}), Grace: time.Second}, true},
		{"grace over the access TTL", lapse.PairConfig{Access: policy(lapse.Policy{TTL: time.Second}), Grace: time.Second + time.Millisecond}, false},
		{"default grace, access TTL of a millisecond", lapse.PairConfig{Access: policy(lapse.Policy{TTL: time.Millisecond})}, true},
		{"grace NoLimit", lapse.PairConfig{Grace: lapse.NoLimit}, false},
		{"prefixes differ", lapse.PairConfig{Access: lapse.Config{Prefix: "a"}, Refresh: lapse.Config{Prefix: "a_b"}}, true},
		{"prefixes swapped", lapse.PairConfig{Access: lapse.Config{Prefix: "lapse_refresh"}, Refresh: lapse.Config{Prefix: "lapse"}}, true},
		{"the same prefix", lapse.PairConfig{Access: lapse.Config{Prefix: "a"}, Refresh: lapse.Config{Prefix: "a"}}, false},
		{"the other's default", lapse.PairConfig{Access: lapse.Config{Prefix: "lapse_refresh"}}, false},
		{"that of the other by default", lapse.PairConfig{Refresh: lapse.Config{Prefix: "lapse"}}, false},
		{"access prefix", lapse.PairConfig{Access: lapse.Config{Prefix: "A"}}, false},
		{"refresh prefix", lapse.PairConfig{Refresh: lapse.Config{Prefix: "a_"}}, false},
		{"access policy", lapse.PairConfig{Access: policy(lapse.Policy{TTL: -1})}, false},
		{"access MaxTokens 1", lapse.PairConfig{Access: policy(lapse.Policy{MaxTokens: 1})}, false},
		{"access MaxTokens just finite", lapse.PairConfig{Access: policy(lapse.Policy{MaxTokens: lapse.NoTokenLimit - 1})}, false},
		{"access MaxTokens negative", lapse.PairConfig{Access: policy(lapse.Policy{MaxTokens: -1})}, false},
		{"access MaxTokens lifted", lapse.PairConfig{Access: policy(lapse.Policy{MaxTokens: lapse.NoTokenLimit})}, true},
		{"refresh MaxTokens 1", lapse.PairConfig{Refresh: policy(lapse.Policy{MaxTokens: 1})}, true},
		{"refresh MaxTokens negative", lapse.PairConfig{Refresh: policy(lapse.Policy{MaxTokens: -1})}, false},
		{"refresh MaxTokens lifted", lapse.PairConfig{Refresh: policy(lapse.Policy{MaxTokens: lapse.NoTokenLimit})}, true},
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
		Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 5 * time.Hour}},
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
		{"uses negative", lapse.Grant{Subject: "ana", MaxUses: -1}, false},
		{"TTL at the access cap", lapse.Grant{Subject: "ana", TTL: 4 * time.Hour}, true},
		{"TTL over the access cap", lapse.Grant{Subject: "ana", TTL: 4*time.Hour + time.Millisecond}, false},
		{"TTL negative", lapse.Grant{Subject: "ana", TTL: -1}, false},
		{"SessionTTL of a millisecond", lapse.Grant{Subject: "ana", SessionTTL: time.Millisecond}, true},
		{"SessionTTL under a millisecond", lapse.Grant{Subject: "ana", SessionTTL: time.Millisecond - 1}, false},
		{"SessionTTL negative", lapse.Grant{Subject: "ana", SessionTTL: -1}, false},
		{"SessionTTL before the session's cap", lapse.Grant{Subject: "ana", SessionTTL: 5*time.Hour - time.Millisecond}, true},
		{"SessionTTL at the session's cap", lapse.Grant{Subject: "ana", SessionTTL: 5 * time.Hour}, true},
		{"SessionTTL over the session's cap", lapse.Grant{Subject: "ana", SessionTTL: 5*time.Hour + time.Millisecond}, false},
		{"SessionTTL NoLimit", lapse.Grant{Subject: "ana", SessionTTL: lapse.NoLimit}, false},
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
	short := memoryPairs(t, lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{MaxTTL: 4 * time.Hour}},
		Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 2 * time.Hour}},
	})
	_, err := short.Pairs.Issue(short.ctx, lapse.Grant{Subject: "ana", TTL: 2*time.Hour + time.Millisecond})
	wantIs(t, "TTL over the session's cap", err, lapse.ErrInvalidGrant)
	short.first(lapse.Grant{TTL: 2 * time.Hour})
}

// TestPlainTokenHasNoSessionTTL, by whichever verb it is made.
func TestPlainTokenHasNoSessionTTL(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Keys: []lapse.Key{lapse.NewKey(keyOf(1))}}})
	c := p.first(lapse.Grant{})
	before := p.contents()
	g := lapse.Grant{Subject: "ana", SessionTTL: time.Hour}
	_, err := p.Manager.Issue(p.ctx, g)
	wantIs(t, "Issue", err, lapse.ErrInvalidGrant)
	_, err = p.Delegate(p.ctx, c.Access.Bearer, g)
	wantIs(t, "Delegate", err, lapse.ErrInvalidGrant)
	_, err = p.Obtain(p.ctx, g)
	wantIs(t, "Obtain", err, lapse.ErrInvalidGrant)
	ana := lapse.VerifierFunc[string](func(context.Context, string) (string, error) { return "ana", nil })
	_, err = lapse.Login(p.ctx, p.Manager, "password", g, ana)
	wantIs(t, "Login", err, lapse.ErrInvalidGrant)
	wantDiff(t, "contents", before, p.contents())
}

// TestObserversOfTheirOwn: log-ins, refreshes and what a refresh text comes to are told to
// the Refresh observer; what an access text comes to is told to that of Access.
func TestObserversOfTheirOwn(t *testing.T) {
	var access, refresh []string
	to := func(told *[]string) func(context.Context, lapse.Event) {
		return func(_ context.Context, e lapse.Event) { *told = append(*told, e.Kind.String()+" "+e.Token.Prefix) }
	}
	p := memoryPairs(t, lapse.PairConfig{
		Access:  lapse.Config{Observe: to(&access)},
		Refresh: lapse.Config{Observe: to(&refresh), Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitEndOldest}},
		Grace:   lapse.NoGrace,
	})
	p.first(lapse.Grant{})
	c := p.first(lapse.Grant{}) // evicts the one before
	p.next(c)
	p.wantAccess("spent", c, lapse.ErrReplaced)
	p.wantRefresh("reuse", c, lapse.ErrReused)
	wantIs(t, "Expire", loggedOut(p.ExpireBearer(p.ctx, p.first(lapse.Grant{}).Access.Bearer)), nil)
	wantDiff(t, "access", []string{"spent ", "ended lapse"}, access)
	wantDiff(t, "refresh", []string{
		"issued lapse", "ended lapse", "issued lapse", "rotated lapse", "ended lapse", "spent ", "issued lapse",
	}, refresh)
}

// TestPairJitter: the access secrets of sessions that begin together do not run out
// together, and those of one session keep the life that was drawn for it.
func TestPairJitter(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	lives := make(map[lapse.Seconds]bool)
	for range 20 {
		c := p.first(lapse.Grant{TTL: time.Hour, Jitter: 0.5})
		lives[c.ExpiresIn] = true
		if time.Duration(c.ExpiresIn) < 30*time.Minute || time.Duration(c.ExpiresIn) > time.Hour || !c.Refresh.ExpiresAt.Equal(startMilli.Add(720*time.Hour)) {
			t.Errorf("an access secret lives for %v, its session until %v", c.ExpiresIn, c.Refresh.ExpiresAt)
		}
		if next := p.next(c); next.ExpiresIn != c.ExpiresIn {
			t.Errorf("%v became %v", c.ExpiresIn, next.ExpiresIn)
		}
	}
	if len(lives) < 10 {
		t.Errorf("20 sessions have %d lives between them", len(lives))
	}
}
