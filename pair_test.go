package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
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
	f := &fixture{t: t, ctx: context.Background(), clock: lapsetest.NewClock()}
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
		cfg.Access.Observe = p.observe
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
	f := &fixture{t: p.t, ctx: p.ctx, clock: p.clock, store: p.store}
	other := &pairs{fixture: f}
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
	lapsetest.WantIs(p.t, what, err, want)
	if (got.Access.Bearer == "") != (err != nil) || (got.Refresh.Bearer == "") != (err != nil) {
		p.t.Errorf("%s: %v, and yet credentials %+v", what, err, got)
	}
}

// wantAccess expects an error of authenticating by c's access text.
func (p *pairs) wantAccess(what string, c lapse.TokenPair, want error) {
	p.t.Helper()
	_, err := p.Manager.Peek(p.ctx, c.Access.Bearer)
	lapsetest.WantIs(p.t, what+": access text", err, want)
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
		IssuedAt: lapsetest.StartMilli, ExpiresAt: lapsetest.StartMilli.Add(30 * 24 * time.Hour), MaxExpiresAt: lapsetest.StartMilli.Add(90 * 24 * time.Hour),
		AuthenticatedAt: lapsetest.StartMilli,
	}
	access := session
	access.ExpiresAt = lapsetest.StartMilli.Add(15 * time.Minute)
	lapsetest.WantDiff(t, "by the access text", access, got.Access.Token)
	lapsetest.WantDiff(t, "by the refresh text", session, got.Refresh.Token)
	lapsetest.WantDiff(t, "stored", session, p.token(session.ID))
	lapsetest.WantDiff(t, "events", []lapse.Event{{Kind: lapse.EventIssued, At: lapsetest.StartMilli, Token: session}}, p.events)
	if n := len(p.contents()); n != 1 || got.ExpiresIn != lapse.Seconds(15*time.Minute) || got.Repeated {
		t.Errorf("%d records, expires in %v, repeated %v", n, got.ExpiresIn, got.Repeated)
	}
	seen, err := p.Manager.Peek(p.ctx, got.Access.Bearer)
	lapsetest.WantIs(t, "Peek", err, nil)
	lapsetest.WantDiff(t, "authenticated", access, seen)
	_, err = p.Authenticate(p.ctx, got.Refresh.Bearer)
	lapsetest.WantIs(t, "the refresh text to authenticate with", err, lapse.ErrUnknown)
	_, err = p.Refresh(p.ctx, got.Access.Bearer)
	lapsetest.WantIs(t, "the access text to refresh with", err, lapse.ErrUnknown)
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
		p.clock.Add(15*time.Minute - time.Millisecond)
		tok, err := p.Authenticate(p.ctx, plain.Bearer)
		lapsetest.WantIs(t, "a plain token", err, nil)
		if renewed := tok.ExpiresAt.After(plain.ExpiresAt); renewed != row.renews || !plain.ExpiresAt.Equal(lapsetest.StartMilli.Add(15*time.Minute)) {
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
		{"a nil clock in a Clock", lapse.PairConfig{Refresh: lapse.Config{Clock: (*lapsetest.StepClock)(nil)}}, false},
	} {
		p, err := lapse.NewPairs(memory.New(), row.cfg)
		if row.ok != (err == nil) || row.ok != (p != nil) {
			t.Errorf("%s: %v, %v", row.name, p, err)
		}
		if !row.ok {
			lapsetest.WantIs(t, row.name, err, lapse.ErrInvalidConfig)
		}
	}
	_, err := lapse.NewPairs(nil, lapse.PairConfig{})
	lapsetest.WantIs(t, "nil store", err, lapse.ErrInvalidConfig)
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
			lapsetest.WantIs(t, row.name, err, nil)
			continue
		}
		lapsetest.WantIs(t, row.name, err, lapse.ErrInvalidGrant)
		if n := len(p.contents()); n != 0 || len(p.events) != 0 {
			t.Errorf("%s: %d records and events %v", row.name, n, p.events)
		}
	}
	short := memoryPairs(t, lapse.PairConfig{
		Access:  lapse.Config{Policy: lapse.Policy{MaxTTL: 4 * time.Hour}},
		Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTTL: 2 * time.Hour}},
	})
	_, err := short.Pairs.Issue(short.ctx, lapse.Grant{Subject: "ana", TTL: 2*time.Hour + time.Millisecond})
	lapsetest.WantIs(t, "TTL over the session's cap", err, lapse.ErrInvalidGrant)
	short.first(lapse.Grant{TTL: 2 * time.Hour})
}

// TestPlainTokenHasNoSessionTTL, by whichever verb it is made.
func TestPlainTokenHasNoSessionTTL(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1))}}})
	c := p.first(lapse.Grant{})
	before := p.contents()
	g := lapse.Grant{Subject: "ana", SessionTTL: time.Hour}
	_, err := p.Manager.Issue(p.ctx, g)
	lapsetest.WantIs(t, "Issue", err, lapse.ErrInvalidGrant)
	_, err = p.Delegate(p.ctx, c.Access.Bearer, g)
	lapsetest.WantIs(t, "Delegate", err, lapse.ErrInvalidGrant)
	_, err = p.Obtain(p.ctx, g)
	lapsetest.WantIs(t, "Obtain", err, lapse.ErrInvalidGrant)
	ana := lapse.VerifierFunc[string](func(context.Context, string) (string, error) { return "ana", nil })
	_, err = lapse.Login(p.ctx, p.Manager, "password", g, ana)
	lapsetest.WantIs(t, "Login", err, lapse.ErrInvalidGrant)
	lapsetest.WantDiff(t, "contents", before, p.contents())
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
	lapsetest.WantIs(t, "Expire", lapsetest.LoggedOut(p.ExpireBearer(p.ctx, p.first(lapse.Grant{}).Access.Bearer)), nil)
	lapsetest.WantDiff(t, "access", []string{"spent ", "ended lapse"}, access)
	lapsetest.WantDiff(t, "refresh", []string{
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
		if time.Duration(c.ExpiresIn) < 30*time.Minute || time.Duration(c.ExpiresIn) > time.Hour || !c.Refresh.ExpiresAt.Equal(lapsetest.StartMilli.Add(720*time.Hour)) {
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

// logOuts are the texts of a session that end it, and the reason of that end.
var logOuts = []struct {
	name  string
	after time.Duration // the last refresh
	text  func(s session3) string
	why   lapse.EndReason
}{
	{"the current access text", 0, func(s session3) string { return s.current.Access.Bearer }, lapse.EndRevoked},
	{"the current access text, run out", 15 * time.Minute, func(s session3) string { return s.current.Access.Bearer }, lapse.EndRevoked},
	{"the previous access text", 10*time.Second - time.Millisecond, func(s session3) string { return s.previous.Access.Bearer }, lapse.EndRevoked},
	{"the previous access text as its grace ends", 10 * time.Second, func(s session3) string { return s.previous.Access.Bearer }, lapse.EndRevoked},
	{"a spent access text", 0, func(s session3) string { return s.spent.Access.Bearer }, lapse.EndRevoked},
	{"the current refresh text", 0, func(s session3) string { return s.current.Refresh.Bearer }, lapse.EndRevoked},
	{"the previous refresh text", 10*time.Second - time.Millisecond, func(s session3) string { return s.previous.Refresh.Bearer }, lapse.EndRevoked},
	{"the previous refresh text as its grace ends", 10 * time.Second, func(s session3) string { return s.previous.Refresh.Bearer }, lapse.EndReused},
	{"a spent refresh text", 0, func(s session3) string { return s.spent.Refresh.Bearer }, lapse.EndReused},
}

// TestLogOut: a session ends by every text that it ever had, with what was delegated from
// it, once; to log out again is no error, and no other session ends.
func TestLogOut(t *testing.T) {
	for _, row := range logOuts {
		p := memoryPairs(t, lapse.PairConfig{})
		other := p.first(lapse.Grant{})
		s := p.session3(lapse.Grant{})
		child, err := p.Delegate(p.ctx, s.current.Access.Bearer, lapse.Grant{})
		lapsetest.WantIs(t, "Delegate", err, nil)
		p.clock.Add(row.after)
		now := p.clock.Now().Truncate(time.Millisecond).UTC()
		p.events = nil
		lapsetest.WantIs(t, row.name, lapsetest.LoggedOut(p.ExpireBearer(p.ctx, row.text(s))), nil)
		tok := p.token(s.current.Refresh.ID)
		if tok.EndReason != row.why || !tok.EndedAt.Equal(now) {
			t.Errorf("%s: it ended at %v as %v; want %v as %v", row.name, tok.EndedAt, tok.EndReason, now, row.why)
		}
		told := map[lapse.ID]lapse.EndReason{}
		spent := 0
		for _, e := range p.events {
			if e.Kind == lapse.EventSpent {
				spent++
				lapsetest.WantIs(t, row.name+": told", e.Err, lapse.ErrReused)
				continue
			}
			told[e.Token.ID] = e.Token.EndReason
		}
		want := map[lapse.ID]lapse.EndReason{tok.ID: row.why}
		if row.after < 15*time.Minute { // else the delegate has run out
			want[child.ID] = lapse.EndParent
		}
		lapsetest.WantDiff(t, row.name+": told", want, told)
		if (spent == 1) != (row.why == lapse.EndReused) {
			t.Errorf("%s: %d spent texts are told of", row.name, spent)
		}
		p.wantNothingWorks(t, row.name, s)
		before := p.contents()
		for range 2 {
			lapsetest.WantIs(t, row.name+", again", lapsetest.LoggedOut(p.ExpireBearer(p.ctx, row.text(s))), nil)
		}
		lapsetest.WantDiff(t, row.name+", again: contents", before, p.contents())
		dead := lapse.ErrRevoked
		if row.after >= 15*time.Minute {
			dead = lapse.ErrExpired
		}
		p.wantPeek(t, row.name+": its delegate", child.Bearer, dead)
		p.next(other)
	}
}

// wantNothingWorks: none of the texts of s opens or refreshes anything.
func (p *pairs) wantNothingWorks(t *testing.T, what string, s session3) {
	t.Helper()
	for _, c := range []lapse.TokenPair{s.spent, s.previous, s.current} {
		p.wantAccess(what, c, lapse.ErrUnauthenticated)
		p.wantRefresh(what, c, lapse.ErrUnauthenticated)
	}
}

// TestExpireBearerOfASession: any Manager of the access prefix logs a session out by an
// access text, and returns the session as it is then.
func TestExpireBearerOfASession(t *testing.T) {
	for _, row := range logOuts {
		for name, other := range map[string]bool{"Pairs.Access()": false, "another Manager": true} {
			p := memoryPairs(t, lapse.PairConfig{})
			s := p.session3(lapse.Grant{Scope: "read write"})
			p.clock.Add(row.after)
			m := p.Manager
			if other {
				m = p.manager(lapse.Config{})
			}
			got, err := m.ExpireBearer(p.ctx, row.text(s))
			if row.text(s)[:8] == "lapse_re" {
				lapsetest.WantIs(t, name+" by "+row.name, err, lapse.ErrUnknown)
				continue
			}
			lapsetest.WantIs(t, name+" by "+row.name, err, nil)
			lapsetest.WantDiff(t, name+" by "+row.name, p.token(s.current.Access.ID), got)
			if got.EndReason != lapse.EndRevoked || got.Scope != "read write" {
				t.Errorf("%s by %s: %+v", name, row.name, got)
			}
			p.wantNothingWorks(t, name+" by "+row.name, s)
		}
	}
}

// TestLogOutOfTheDead changes nothing, opens no transaction that writes, and is no error
// until the record has been swept.
func TestLogOutOfTheDead(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	s := p.session3(lapse.Grant{})
	p.clock.Add(720 * time.Hour)
	before := p.contents()
	for _, row := range logOuts {
		lapsetest.WantIs(t, "run out, by "+row.name, lapsetest.LoggedOut(p.ExpireBearer(p.ctx, row.text(s))), nil)
	}
	lapsetest.WantDiff(t, "contents", before, p.contents())
	p.clock.Add(24*time.Hour + time.Millisecond)
	if deleted, err := p.Sweep(p.ctx); deleted != 1 || err != nil {
		t.Fatalf("Sweep: %d, %v", deleted, err)
	}
	for _, row := range logOuts {
		lapsetest.WantIs(t, "swept, by "+row.name, lapsetest.LoggedOut(p.ExpireBearer(p.ctx, row.text(s))), lapse.ErrUnknown)
	}
}

// TestLogOutMeetsSweep: a record that is swept between the look at it and its end had been
// dead, so that is no error.
func TestLogOutMeetsSweep(t *testing.T) {
	for _, row := range logOuts {
		p := memoryPairs(t, lapse.PairConfig{Access: lapse.Config{Policy: lapse.Policy{Retention: time.Millisecond}}})
		s := p.session3(lapse.Grant{})
		p.clock.Add(row.after)
		p.store.Before(func(op storagetest.Op) {
			if op == opUpdate {
				p.store.Before(nil)
				p.Manager.Expire(p.ctx, s.current.Refresh.ID)
				p.clock.Add(time.Second)
				if n, err := p.Sweep(p.ctx); n != 1 || err != nil {
					t.Errorf("Sweep: %d, %v", n, err)
				}
			}
		})
		lapsetest.WantIs(t, row.name, lapsetest.LoggedOut(p.ExpireBearer(p.ctx, row.text(s))), nil)
	}
}

// TestExpireReachesNoFurther: the text of a delegate, or of a plain token, ends that
// alone, and a text that is none of these Pairs ends nothing.
func TestExpireReachesNoFurther(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	c := p.first(lapse.Grant{})
	child, err := p.Delegate(p.ctx, c.Access.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate", err, nil)
	alone, bystander := p.issue(lapse.Grant{Subject: "ana"}), p.issue(lapse.Grant{Subject: "ana"})
	for name, bearer := range map[string]string{"delegate": child.Bearer, "plain token": alone.Bearer} {
		lapsetest.WantIs(t, name, lapsetest.LoggedOut(p.ExpireBearer(p.ctx, bearer)), nil)
		p.wantPeek(t, name, bearer, lapse.ErrRevoked)
	}
	p.wantAccess("the session", c, nil)
	p.wantPeek(t, "another plain token", bystander.Bearer, nil)
	p.next(c)
	old := p.issue(lapse.Grant{Subject: "ana"})
	rotated := rotate(t, p.fixture, old.Bearer, 0)
	before := p.contents()
	for name, row := range map[string]struct {
		bearer string
		want   error
	}{
		"no token":                    {"lapse_refresh", lapse.ErrMalformed},
		"empty":                       {"", lapse.ErrMalformed},
		"foreign refresh":             {memoryPairs(t, lapse.PairConfig{}).first(lapse.Grant{}).Refresh.Bearer, lapse.ErrUnknown},
		"foreign access":              {memoryPairs(t, lapse.PairConfig{}).first(lapse.Grant{}).Access.Bearer, lapse.ErrUnknown},
		"a spent text of a plain one": {old.Bearer, lapse.ErrReplaced},
	} {
		lapsetest.WantIs(t, name, lapsetest.LoggedOut(p.ExpireBearer(p.ctx, row.bearer)), row.want)
	}
	lapsetest.WantDiff(t, "contents", before, p.contents())
	lapsetest.WantIs(t, "the current text of a plain one", lapsetest.LoggedOut(p.ExpireBearer(p.ctx, rotated.Bearer)), nil)
}

// TestExpireASessionByItsID: the ID that was noted at the log-in ends the session after
// any number of refreshes, and says so once.
func TestExpireASessionByItsID(t *testing.T) {
	for _, prefix := range []string{"", "admin"} { // of the Manager that ends it
		p := memoryPairs(t, lapse.PairConfig{})
		s := p.session3(lapse.Grant{})
		m := p.manager(lapse.Config{Prefix: prefix})
		for _, want := range []bool{true, false} {
			if ended, err := m.Expire(p.ctx, s.spent.Access.ID); ended != want || err != nil {
				t.Errorf("Expire: %v, %v; want %v", ended, err, want)
			}
		}
		if why := p.token(s.current.Refresh.ID).EndReason; why != lapse.EndRevoked {
			t.Errorf("it ended as %v", why)
		}
		p.wantNothingWorks(t, "by its ID", s)
	}
}

// TestExpireSubjectKeepsASession by the ID that was noted before it was refreshed, with
// what was delegated from it, and ends every other session once.
func TestExpireSubjectKeepsASession(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	mine, other := p.first(lapse.Grant{}), p.session3(lapse.Grant{})
	noted := mine.Access.ID
	ofMine, err := p.Delegate(p.ctx, mine.Access.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate", err, nil)
	ofOther, err := p.Delegate(p.ctx, other.current.Access.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate", err, nil)
	plain := p.issue(lapse.Grant{Subject: "ana"})
	for range 3 {
		p.clock.Add(time.Minute)
		mine = p.next(mine)
	}
	// A delegate is to be kept by its own ID; that of a session which ends is ended all the same.
	ended, err := p.ExpireSubject(p.ctx, "ana", noted, ofMine.ID, ofOther.ID)
	if ended != 3 || err != nil {
		t.Errorf("ended %d, %v; want a session, its delegate and a plain token", ended, err)
	}
	p.wantNothingWorks(t, "another session", other)
	for _, bearer := range []string{plain.Bearer, ofOther.Bearer} {
		p.wantPeek(t, "what is not kept", bearer, lapse.ErrRevoked)
	}
	p.wantPeek(t, "the delegate that is kept", ofMine.Bearer, nil)
	p.wantAccess("the session that is kept", mine, nil)
	p.next(mine)
}

// pairScene is a store with two sessions, on which one verb is tried.
type pairScene struct {
	*pairs
	stale, old, tip lapse.TokenPair // of one session; tip has not been refreshed
	child           lapse.Issued    // a delegate of tip
}

var pairSceneLimit = lapse.Config{Policy: lapse.Policy{MaxTokens: 2}}

// newPairScene makes one on what wrap returns for its store; nil is the store itself.
func newPairScene(t *testing.T, wrap func(storage.Store) storage.Store) *pairScene {
	t.Helper()
	var store storage.Store = storagetest.NewFaulty(memory.New())
	if wrap != nil {
		store = wrap(store)
	}
	s := &pairScene{pairs: newPairs(t, store, lapse.PairConfig{Refresh: pairSceneLimit})}
	s.first(lapse.Grant{})
	s.clock.Add(time.Second)
	s.stale = s.first(lapse.Grant{})
	s.old = s.next(s.stale)
	s.tip = s.next(s.old)
	var err error
	if s.child, err = s.Delegate(s.ctx, s.tip.Access.Bearer, lapse.Grant{}); err != nil {
		t.Fatal(err)
	}
	s.clock.Add(time.Second)
	s.events = nil
	s.store.Reset()
	return s
}

// pairVerb is something that Pairs does to a store. ends says that the session is dead
// afterwards.
type pairVerb struct {
	name string
	want error // without a fault
	ends bool
	do   func(ctx context.Context, s *pairScene) (gave lapse.TokenPair, err error)
}

// refreshing refreshes with the text that of returns.
func refreshing(of func(s *pairScene) lapse.TokenPair) func(context.Context, *pairScene) (lapse.TokenPair, error) {
	return func(ctx context.Context, s *pairScene) (lapse.TokenPair, error) {
		return s.Refresh(ctx, of(s).Refresh.Bearer)
	}
}

// loggingOut logs out with the text that of returns.
func loggingOut(of func(s *pairScene) string) func(context.Context, *pairScene) (lapse.TokenPair, error) {
	return func(ctx context.Context, s *pairScene) (lapse.TokenPair, error) {
		return lapse.TokenPair{}, lapsetest.LoggedOut(s.ExpireBearer(ctx, of(s)))
	}
}

// peeking gives nothing but the session that Peek returns.
func peeking(of func(s *pairScene) lapse.TokenPair) func(context.Context, *pairScene) (lapse.TokenPair, error) {
	return func(ctx context.Context, s *pairScene) (c lapse.TokenPair, err error) {
		c.Refresh.Token, err = s.Pairs.Peek(ctx, of(s).Refresh.Bearer)
		return c, err
	}
}

func staleOf(s *pairScene) lapse.TokenPair { return s.stale }
func oldOf(s *pairScene) lapse.TokenPair   { return s.old }
func tipOf(s *pairScene) lapse.TokenPair   { return s.tip }

// pairVerbs are all that Pairs does to a store, with each text that makes a difference.
var pairVerbs = []pairVerb{
	{"Issue", nil, false, func(ctx context.Context, s *pairScene) (lapse.TokenPair, error) { // which evicts the other session
		return s.Pairs.Issue(ctx, lapse.Grant{Subject: "ana"})
	}},
	{"Refresh", nil, false, refreshing(tipOf)},
	{"Refresh again", nil, false, refreshing(oldOf)},
	{"Refresh of a spent text", lapse.ErrReused, true, refreshing(staleOf)},
	{"ExpireBearer by the access text", nil, true, loggingOut(func(s *pairScene) string { return s.tip.Access.Bearer })},
	{"ExpireBearer by a spent access text", nil, true, loggingOut(func(s *pairScene) string { return s.stale.Access.Bearer })},
	{"ExpireBearer by the refresh text", nil, true, loggingOut(func(s *pairScene) string { return s.tip.Refresh.Bearer })},
	{"ExpireBearer by a spent refresh text", nil, true, loggingOut(func(s *pairScene) string { return s.stale.Refresh.Bearer })},
	{"Peek", nil, false, peeking(tipOf)},
	{"Peek of the previous text", nil, false, peeking(oldOf)},
	{"Peek of a spent text", lapse.ErrReplaced, false, peeking(staleOf)},
	{"Sessions", nil, false, func(ctx context.Context, s *pairScene) (c lapse.TokenPair, err error) {
		n := 0
		for _, err := range s.Sessions(ctx, "ana") {
			if err != nil {
				return c, err
			}
			n++
		}
		if n == 0 {
			s.t.Error("no session is listed")
		}
		return c, nil
	}},
}

// pairVerbOf returns the verb of that name.
func pairVerbOf(t *testing.T, name string) pairVerb {
	t.Helper()
	for _, v := range pairVerbs {
		if v.name == name {
			return v
		}
	}
	t.Fatalf("there is no verb %q", name)
	return pairVerb{}
}

// wantWhole: the session of stale lives with its delegate or not at all, is one record,
// has one current refresh text among those given, and at most one previous one.
func (s *pairScene) wantWhole(t *testing.T, given ...lapse.TokenPair) (alive bool) {
	t.Helper()
	sessions, delegates := 0, 0
	var rec storage.Record
	for _, r := range s.contents() {
		switch {
		case r.ID == s.stale.Refresh.ID:
			sessions++
			rec = r
		case r.Parent == s.stale.Refresh.ID && r.Live(s.clock.Now()):
			delegates++
		}
	}
	alive = rec.Live(s.clock.Now())
	if sessions != 1 || alive && s.clock.Now().Before(s.child.ExpiresAt) != (delegates == 1) || !alive && delegates != 0 {
		t.Errorf("%d records of the session, which is alive: %v, and %d live delegates", sessions, alive, delegates)
	}
	current, previous := map[string]bool{}, map[string]bool{}
	for _, c := range append([]lapse.TokenPair{s.stale, s.old, s.tip}, given...) {
		switch tok, err := s.Pairs.Peek(s.ctx, c.Refresh.Bearer); {
		case err != nil || c.Refresh.ID != rec.ID:
		case c.Refresh.Generation == tok.Generation:
			current[c.Refresh.Bearer] = true
		default:
			previous[c.Refresh.Bearer] = true
		}
	}
	if len(current) > 1 || len(previous) > 1 || !alive && len(current)+len(previous) > 0 {
		t.Errorf("alive %v, and %d current and %d previous texts", alive, len(current), len(previous))
	}
	return alive
}

// TestPairFaults fails each call that each verb makes, in each way.
func TestPairFaults(t *testing.T) {
	for _, verb := range pairVerbs {
		s := newPairScene(t, nil)
		_, err := verb.do(s.ctx, s)
		lapsetest.WantIs(t, verb.name, err, verb.want)
		for n := 1; n <= len(s.store.Calls()); n++ {
			for _, fault := range callFaults {
				t.Run(fmt.Sprintf("%s/call %d/%v %v", verb.name, n, fault.mode, fault.err), func(t *testing.T) {
					s := newPairScene(t, nil)
					before := s.contents()
					s.store.Reset()
					s.store.Inject(n, fault.mode, fault.err)
					gave, err := verb.do(lateAt(s.ctx, s.store, n, fault.mode), s)
					s.wantFault(t, gave, err, fault.want)
					if fault.mode != storagetest.FailAfter {
						lapsetest.WantDiff(t, "contents", before, s.contents())
					}
					s.wantRetry(t, verb)
				})
			}
		}
	}
}

// wantFault: the verb failed for the store's reason, and no verdict, credentials or
// event came of it.
func (s *pairScene) wantFault(t *testing.T, gave lapse.TokenPair, err, want error) {
	t.Helper()
	if !s.store.Fired() {
		t.Fatal("the fault did not happen")
	}
	lapsetest.WantIs(t, "error", err, want)
	if errors.Is(err, lapse.ErrUnauthenticated) {
		t.Errorf("a fault of the store reads as a bad text: %v", err)
	}
	if gave.Access.Bearer != "" || gave.Refresh.Bearer != "" || gave.Refresh.Token != (lapse.Token{}) || len(s.events) != 0 {
		t.Errorf("it failed and yet gave %+v and told of %+v", gave, s.events)
	}
}

// wantRetry: nothing is half done, and the same call again comes to what it would have
// come to without the fault.
func (s *pairScene) wantRetry(t *testing.T, verb pairVerb) {
	t.Helper()
	alive := s.wantWhole(t)
	c, err := verb.do(s.ctx, s)
	lapsetest.WantIs(t, "again", err, verb.want)
	again := s.wantWhole(t, c)
	if verb.name != "Issue" && again == verb.ends || again && !alive { // two log-ins evict two sessions
		t.Errorf("the session is alive: %v", again)
	}
	if c.Access.Bearer != "" {
		s.wantAccess("again", c, nil)
		s.wantAccess("and refreshed", s.next(c), nil)
	}
}

// TestPairPanics: a panic of any call passes through, leaves everything as it was, and
// what comes after it works.
func TestPairPanics(t *testing.T) {
	for _, verb := range pairVerbs {
		s := newPairScene(t, nil)
		verb.do(s.ctx, s)
		for n := 1; n <= len(s.store.Calls()); n++ {
			s := newPairScene(t, nil)
			before := s.contents()
			s.store.Reset()
			s.store.Inject(n, storagetest.Panic, nil)
			if !panics(func() { verb.do(s.ctx, s) }) {
				t.Errorf("%s, call %d: the store's panic was swallowed", verb.name, n)
			}
			lapsetest.WantDiff(t, fmt.Sprint(verb.name, ", call ", n, ": contents"), before, s.contents())
			s.wantRetry(t, verb)
		}
	}
}

// TestPairTxFaults fails each call that each verb makes inside its transaction.
func TestPairTxFaults(t *testing.T) {
	for _, verb := range pairVerbs {
		n := 1
		for ; ; n++ {
			faults := &txFaults{left: -1}
			s := newPairScene(t, func(store storage.Store) storage.Store {
				faults.Store = store
				return faults
			})
			before := s.contents()
			faults.left = n
			gave, err := verb.do(s.ctx, s)
			if faults.done() {
				break
			}
			lapsetest.WantIs(t, verb.name, err, errDisk)
			lapsetest.WantIs(t, verb.name, err, lapse.ErrUnavailable)
			if gave.Access.Bearer != "" || len(s.events) != 0 {
				t.Errorf("%s, call %d: it failed and yet gave %+v and told of %+v", verb.name, n, gave, s.events)
			}
			lapsetest.WantDiff(t, fmt.Sprintf("%s, call %d: contents", verb.name, n), before, s.contents())
			s.wantRetry(t, verb)
		}
		if reads := strings.HasPrefix(verb.name, "Peek") || verb.name == "Sessions" || verb.name == "Refresh again"; n < 3 && !reads {
			t.Errorf("%s: only %d calls failed", verb.name, n-1)
		}
	}
}

// TestPairRunsAgain: nothing of a run that was undone is left, whatever happens before
// the next one.
func TestPairRunsAgain(t *testing.T) {
	next := func(s *pairScene) { s.next(s.tip) }
	twoNext := func(s *pairScene) { s.next(s.next(s.tip)) }
	out := func(s *pairScene) { lapsetest.LoggedOut(s.ExpireBearer(s.ctx, s.tip.Access.Bearer)) }
	theft := func(s *pairScene) { s.wantRefresh("a thief", s.stale, lapse.ErrReused) }
	for _, row := range []struct {
		verb    string
		between func(s *pairScene)
		want    error
		again   bool // credentials that another call made
		alive   bool
	}{
		{"Issue", nil, nil, false, true},
		{"Refresh", nil, nil, false, true},
		{"Refresh", next, nil, true, true},
		{"Refresh", out, lapse.ErrRevoked, false, false},
		{"Refresh", twoNext, lapse.ErrReused, false, false},
		{"Refresh", theft, lapse.ErrRevoked, false, false},
		{"Refresh again", nil, nil, true, true},
		{"Refresh again", next, lapse.ErrReused, false, false},
		{"Refresh again", func(s *pairScene) { s.clock.Add(time.Minute) }, lapse.ErrReused, false, false},
		{"Refresh again", out, lapse.ErrRevoked, false, false},
		{"Refresh of a spent text", nil, lapse.ErrReused, false, false},
		{"Refresh of a spent text", func(s *pairScene) { s.clock.Add(-time.Minute) }, lapse.ErrReused, false, false},
		{"Refresh of a spent text", out, lapse.ErrReused, false, false},
		{"ExpireBearer by the access text", nil, nil, false, false},
		{"ExpireBearer by the access text", next, nil, false, false},
		{"ExpireBearer by the access text", twoNext, nil, false, false},
		{"ExpireBearer by the refresh text", twoNext, nil, false, false},
		{"ExpireBearer by a spent refresh text", nil, nil, false, false},
		{"ExpireBearer by a spent refresh text", theft, nil, false, false},
	} {
		s := newPairScene(t, nil)
		plain, verb := s.Pairs, pairVerbOf(t, row.verb)
		once, err := lapse.NewPairs(&twice{s.store, s.clock, 0, func() {
			if row.between != nil {
				meanwhile := *s
				meanwhile.pairs = &pairs{Pairs: plain, fixture: s.fixture}
				row.between(&meanwhile)
			}
			s.events = nil
		}}, lapse.PairConfig{
			Access:  lapse.Config{Clock: s.clock, Observe: s.observe},
			Refresh: pairSceneLimit,
		})
		lapsetest.WantIs(t, "NewPairs", err, nil)
		s.Pairs = once
		c, err := verb.do(s.ctx, s)
		s.Pairs = plain
		events := s.events
		lapsetest.WantIs(t, verb.name, err, row.want)
		if alive := s.wantWhole(t, c); alive != row.alive || c.Repeated != row.again {
			t.Errorf("%s: the session lives: %v, repeated: %v; want %v and %v", verb.name, alive, c.Repeated, row.alive, row.again)
		}
		told := map[string]int{}
		for _, e := range events {
			if told[fmt.Sprint(e.Kind, e.Token.ID)]++; told[fmt.Sprint(e.Kind, e.Token.ID)] > 1 {
				t.Errorf("%s: told twice: %+v", verb.name, e)
			}
		}
		if c.Access.Bearer != "" {
			s.wantAccess(verb.name, c, nil)
			s.next(c)
		}
	}
}

// TestUnknownOutcomeOfTheEnd: as long as it cannot be told whether the session has been
// ended, nothing says that it has been.
func TestUnknownOutcomeOfTheEnd(t *testing.T) {
	s := newPairScene(t, nil)
	s.store.InjectOp(storagetest.OpUpdate, 1, storagetest.FailAfter, storage.ErrOutcomeUnknown)
	_, err := s.Refresh(s.ctx, s.stale.Refresh.Bearer)
	lapsetest.WantIs(t, "outcome unknown", err, lapse.ErrOutcomeUnknown)
	if errors.Is(err, lapse.ErrReused) || errors.Is(err, lapse.ErrUnauthenticated) {
		t.Errorf("%v is a verdict", err)
	}
	s.wantRefresh("again", s.stale, lapse.ErrReused)
	s.wantDead(s.stale, s.old, s.tip)
}

// textVerbs are the verbs that take a text of a session or of a plain token. refreshes
// says that the verb is for refresh texts.
var textVerbs = []struct {
	name      string
	refreshes bool
	do        func(p *pairs, bearer string) error
}{
	{"Authenticate", false, func(p *pairs, b string) error { _, err := p.Authenticate(p.ctx, b); return err }},
	{"Manager.Peek", false, func(p *pairs, b string) error { _, err := p.Manager.Peek(p.ctx, b); return err }},
	{"Hold", false, func(p *pairs, b string) error { _, _, err := lapsetest.Opened(p.Hold(p.ctx, b)); return err }},
	{"Renew", false, func(p *pairs, b string) error { _, err := p.Renew(p.ctx, b); return err }},
	{"Confirm", false, func(p *pairs, b string) error { _, err := p.Confirm(p.ctx, b); return err }},
	{"Rotate", false, func(p *pairs, b string) error { _, err := p.Rotate(p.ctx, b, time.Second); return err }},
	{"Rotate, overlap 0", false, func(p *pairs, b string) error { _, err := p.Rotate(p.ctx, b, 0); return err }},
	{"Delegate", false, func(p *pairs, b string) error { _, err := p.Delegate(p.ctx, b, lapse.Grant{}); return err }},
	{"ExpireBearer", false, func(p *pairs, b string) error { _, err := p.fixture.ExpireBearer(p.ctx, b); return err }},
	{"Refresh", true, func(p *pairs, b string) error { _, err := p.Refresh(p.ctx, b); return err }},
	{"Pairs.Peek", true, func(p *pairs, b string) error { _, err := p.Pairs.Peek(p.ctx, b); return err }},
	{"Pairs.ExpireBearer", true, func(p *pairs, b string) error { return lapsetest.LoggedOut(p.ExpireBearer(p.ctx, b)) }},
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
	lapsetest.WantIs(p.t, "Delegate", err, nil)
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
					lapsetest.WantIs(t, fmt.Sprint(kind, ": ", verb.name, " of the ", name, " text"), verb.do(turn.other, bearer), lapse.ErrUnknown)
				}
				if cfg.Access.Prefix == "" && verb.name != "Refresh" && verb.name != "Pairs.Peek" {
					continue
				}
				for name, bearer := range access {
					lapsetest.WantIs(t, fmt.Sprint(kind, ": ", verb.name, " of the ", name, " text"), verb.do(turn.other, bearer), lapse.ErrUnknown)
				}
			}
			lapsetest.WantDiff(t, kind+": contents", before, turn.owner.contents())
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
		theirs.clock.Add(30 * time.Minute) // over their access TTL, within their session's
		ours.wantAccess(kind, mine.current, lapse.ErrExpired)
		mine.current = ours.next(mine.current)
		theirs.clock.Add(3 * time.Hour) // over their cap
		mine.current = ours.next(mine.current)
		theirs.wantSessions(t, kind)
		if cfg.Access.Prefix == "" {
			_, err := theirs.Authenticate(ours.ctx, mine.current.Access.Bearer)
			lapsetest.WantIs(t, kind+": by the record, not by their cap", err, nil)
		}
		want := map[bool]error{true: lapse.ErrNotRenewable, false: lapse.ErrNotFound}[cfg.Access.Prefix == ""]
		_, err := theirs.RotateID(ours.ctx, mine.current.Refresh.ID, time.Second)
		lapsetest.WantIs(t, kind+": RotateID", err, want)
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
	lapsetest.WantDiff(t, what+": sessions", want, got, sortIDs)
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
	lapsetest.WantIs(t, "Issue beside four sessions", err, nil)
	_, err = m.Issue(p.ctx, lapse.Grant{Subject: "ana"})
	lapsetest.WantIs(t, "Issue beside a plain token", err, lapse.ErrLimit)
	p.first(lapse.Grant{}) // sessions are no plain tokens

	p.clock.Add(15*time.Minute - time.Millisecond)
	tok, err := m.Authenticate(p.ctx, c.Access.Bearer)
	lapsetest.WantIs(t, "before the access secret runs out", err, nil)
	used := c.Access.Token
	used.LastUsedAt = lapsetest.StartMilli.Add(15*time.Minute - time.Millisecond)
	lapsetest.WantDiff(t, "as another Manager sees it", used, tok)
	p.clock.Add(time.Millisecond)
	_, err = m.Authenticate(p.ctx, c.Access.Bearer)
	lapsetest.WantIs(t, "as the access secret runs out", err, lapse.ErrExpired)
	tok, err = m.Token(p.ctx, c.Refresh.ID)
	if err != nil || !tok.ExpiresAt.Equal(c.Refresh.ExpiresAt) || !tok.MaxExpiresAt.Equal(c.Refresh.MaxExpiresAt) {
		t.Errorf("the session by its ID: %+v, %v", tok, err)
	}
	next := p.next(c)
	_, err = m.ExpireBearer(p.ctx, next.Access.Bearer)
	lapsetest.WantIs(t, "ExpireBearer by another Manager", err, nil)
	p.wantRefresh("logged out by another Manager", next, lapse.ErrRevoked)
}

// TestRefreshTextIsNoBearer: a Manager of the refresh prefix takes no refresh text, and
// its own tokens refresh nothing, rotated or not.
func TestRefreshTextIsNoBearer(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{})
	s := p.session3(lapse.Grant{})
	m := p.manager(lapse.Config{Prefix: "lapse_refresh"})
	own := *p
	own.fixture = &fixture{Manager: m, t: t, ctx: p.ctx, clock: p.clock, store: p.store}
	plain := own.issue(lapse.Grant{Subject: "ana"})
	rotated := rotate(t, own.fixture, plain.Bearer, time.Minute)
	child, err := own.Delegate(p.ctx, rotated.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate", err, nil)
	before := p.contents()
	for _, c := range []lapse.TokenPair{s.spent, s.previous, s.current} {
		for _, verb := range textVerbs {
			if !verb.refreshes {
				lapsetest.WantIs(t, verb.name, verb.do(&own, c.Refresh.Bearer), lapse.ErrUnknown)
			}
		}
	}
	for _, bearer := range []string{plain.Bearer, rotated.Bearer, child.Bearer} {
		for _, verb := range textVerbs {
			if verb.refreshes {
				lapsetest.WantIs(t, verb.name+" of a plain token", verb.do(p, bearer), lapse.ErrUnknown)
			}
		}
	}
	lapsetest.WantDiff(t, "contents", before, p.contents())
}

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
		{"used, then refreshed, in turn", func(p *pairs, s all) { p.use(s[2]); p.clock.Add(time.Second); s[0] = p.next(s[0]); p.use(s[1]) }, 0, 2},
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
			lapsetest.WantIs(p.t, "Delegate", err, nil)
			p.clock.Add(time.Second)
			_, err = p.Authenticate(p.ctx, child.Bearer)
			lapsetest.WantIs(p.t, "the delegate", err, nil)
		}, 0, 0},
	} {
		for atLimit, want := range map[lapse.AtLimit]int{lapse.LimitEndOldest: row.oldest, lapse.LimitEndIdlest: row.idlest, lapse.LimitDefault: row.idlest} {
			p := limitedPairs(t, atLimit)
			var release context.CancelFunc
			p.ctx, release = context.WithCancel(p.ctx)
			var s all
			for range 3 {
				s = append(s, p.first(lapse.Grant{}))
				p.clock.Add(time.Second)
			}
			row.do(p, s)
			c := p.first(lapse.Grant{})
			name := fmt.Sprintf("%s, AtLimit %d", row.name, atLimit)
			lapsetest.WantDiff(t, name+": evicted", s[want].Refresh.ID, c.Refresh.Evicted[0])
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
	p.clock.Add(time.Second)
	_, err := p.Authenticate(p.ctx, c.Access.Bearer)
	lapsetest.WantIs(p.t, "Authenticate", err, nil)
}

// held holds a connection by the access text of c until the test ends.
func (p *pairs) held(c lapse.TokenPair) {
	p.t.Helper()
	_, _, err := lapsetest.Opened(p.Hold(p.ctx, c.Access.Bearer))
	lapsetest.WantIs(p.t, "Hold", err, nil)
}

// TestSessionsAtTheLimit, before it, at it and after it: LimitRefuse changes nothing, and
// else one session makes room with all that was delegated from it.
func TestSessionsAtTheLimit(t *testing.T) {
	p := limitedPairs(t, lapse.LimitRefuse)
	for range 3 {
		c := p.first(lapse.Grant{})
		for range 4 { // these take no room
			_, err := p.Delegate(p.ctx, c.Access.Bearer, lapse.Grant{})
			lapsetest.WantIs(t, "Delegate", err, nil)
			p.issue(lapse.Grant{Subject: "ana"})
		}
	}
	before := p.contents()
	_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
	lapsetest.WantIs(t, "no room", err, lapse.ErrLimit)
	lapsetest.WantDiff(t, "contents", before, p.contents())
	_, err = p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "bob"})
	lapsetest.WantIs(t, "another subject", err, nil)

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
	lapsetest.WantDiff(t, "told", []lapse.EndReason{lapse.EndEvicted, parent, parent, parent, parent, 0}, reasons)
	other.wantAccess("the new one", got, nil)
}

// TestRoomOfTheDead: a session that has ended, has run out, or is kept out by a lowered
// cap takes no room.
func TestRoomOfTheDead(t *testing.T) {
	for name, end := range map[string]func(p *pairs, c lapse.TokenPair){
		"logged out": func(p *pairs, c lapse.TokenPair) { lapsetest.LoggedOut(p.ExpireBearer(p.ctx, c.Refresh.Bearer)) },
		"reused": func(p *pairs, c lapse.TokenPair) {
			p.next(p.next(c))
			p.wantRefresh("reuse", c, lapse.ErrReused)
		},
		"ran out": func(p *pairs, _ lapse.TokenPair) { p.clock.Add(time.Hour) },
	} {
		p := memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{TTL: time.Hour, MaxTokens: 1, AtLimit: lapse.LimitRefuse}}})
		c := p.first(lapse.Grant{})
		_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
		lapsetest.WantIs(t, name+": before", err, lapse.ErrLimit)
		end(p, c)
		p.wantAccess(name, p.first(lapse.Grant{}), nil)
	}
}

// TestAccessSecretRanOutTakesRoom: it is the session that counts, not its access secret.
func TestAccessSecretRanOutTakesRoom(t *testing.T) {
	p := memoryPairs(t, lapse.PairConfig{Refresh: lapse.Config{Policy: lapse.Policy{MaxTokens: 1, AtLimit: lapse.LimitRefuse}}})
	c := p.first(lapse.Grant{})
	p.clock.Add(15 * time.Minute)
	p.wantAccess("at its end", c, lapse.ErrExpired)
	_, err := p.Pairs.Issue(p.ctx, lapse.Grant{Subject: "ana"})
	lapsetest.WantIs(t, "Issue", err, lapse.ErrLimit)
	p.next(c)
}
