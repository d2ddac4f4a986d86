package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// delegate delegates from the token of i, which must work.
func (f *fixture) delegate(i lapse.Issued, g lapse.Grant) lapse.Issued {
	f.t.Helper()
	d, err := f.Delegate(f.ctx, i.Bearer, g)
	if err != nil {
		f.t.Fatalf("Delegate: %v", err)
	}
	return d
}

// chain issues a token for ana and delegates from it, from that one, and so on: n
// tokens in all.
func (f *fixture) chain(n int) []lapse.Issued {
	f.t.Helper()
	all := []lapse.Issued{f.issue(lapse.Grant{Subject: "ana", Scope: "a b"})}
	f.clock.Add(time.Millisecond) // so that it is the oldest
	for len(all) < n {
		all = append(all, f.delegate(all[len(all)-1], lapse.Grant{Scope: "a"}))
	}
	return all
}

// seen returns the token of i as every call shows it. They must agree.
func (f *fixture) seen(i lapse.Issued) lapse.Token {
	f.t.Helper()
	tok := f.token(i.ID)
	listed := 0
	for other, err := range f.List(f.ctx, lapse.Query{Subject: i.Subject}) {
		if err != nil {
			f.t.Fatalf("Tokens: %v", err)
		}
		if other.ID == i.ID {
			listed++
			lapsetest.WantDiff(f.t, "Tokens and Token", tok, other)
		}
	}
	if listed != 1 {
		f.t.Errorf("listed %d times", listed)
	}
	peeked, err := f.Peek(f.ctx, i.Bearer)
	if live := tok.Live(f.clock.Now()); live != (err == nil) {
		f.t.Errorf("Token says alive: %v; Peek says %v", live, err)
	}
	if err == nil {
		lapsetest.WantDiff(f.t, "Peek and Token", tok, peeked)
	}
	return tok
}

func TestDelegate(t *testing.T) {
	f := newFixture(t, lapse.Config{Prefix: "app"})
	parent := f.issue(lapse.Grant{Subject: "ana", Name: "laptop", Scope: "read write", Data: "secret"})
	f.clock.Add(time.Minute)
	f.events = nil
	var got lapse.Issued
	calls := f.calls(func() {
		got = f.delegate(parent, lapse.Grant{Name: "backup", Scope: "read", Data: "x", TTL: 10 * time.Minute, MaxUses: 3})
	})
	now := lapsetest.StartMilli.Add(time.Minute)
	want := lapse.Token{
		ID: got.ID, Prefix: "app", Subject: "ana", Name: "backup", Scope: "read", Data: "x",
		IssuedAt: now, ExpiresAt: now.Add(10 * time.Minute), MaxExpiresAt: lapsetest.StartMilli.Add(30 * 24 * time.Hour),
		Family: parent.ID, Parent: parent.ID, MaxUses: 3, UsesLeft: 3,
		AuthenticatedAt: lapsetest.StartMilli,
	}
	lapsetest.WantDiff(t, "issued", want, got.Token)
	lapsetest.WantDiff(t, "seen", want, f.seen(got))
	lapsetest.WantDiff(t, "reduced", []string(nil), got.Reduced)
	lapsetest.WantDiff(t, "events", []lapse.Event{{Kind: lapse.EventIssued, At: now, Token: want}}, f.events)
	lapsetest.WantDiff(t, "calls", []storagetest.Op{opGet, opUpdate}, calls)
	parent.Family = parent.ID
	lapsetest.WantDiff(t, "the parent", parent.Token, f.seen(parent))
}

// TestDelegatedScope: a subset is given, and anything else is refused by name.
func TestDelegatedScope(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana", Scope: "a b ab"})
	for scope, missing := range map[string]string{
		"": "", "a": "", "b a": "", "a b ab": "", "a a": "",
		"a c": `["c"]`, "A": `["A"]`, "abc c": `["abc" "c"]`, "b:a": `["b:a"]`, "*": `["*"]`,
	} {
		d, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{Scope: scope})
		if missing == "" {
			if err != nil || d.Scope != scope {
				t.Errorf("%q: got %q, %v", scope, d.Scope, err)
			}
			continue
		}
		lapsetest.WantIs(t, scope, err, lapse.ErrScope)
		if errors.Is(err, lapse.ErrUnauthenticated) || !strings.Contains(err.Error(), missing) {
			t.Errorf("%q: %v; want a 403 that names %s", scope, err, missing)
		}
	}
	none := f.issue(lapse.Grant{Subject: "ana"})
	_, err := f.Delegate(f.ctx, none.Bearer, lapse.Grant{Scope: "a"})
	lapsetest.WantIs(t, "of a token without scope", err, lapse.ErrScope)
}

// TestDelegatedLife: the life of a delegate ends with its parent's at the latest, and
// what that takes from it is reported.
func TestDelegatedLife(t *testing.T) {
	const ms, m, h = time.Millisecond, time.Minute, time.Hour
	for _, row := range []struct {
		name             string
		parent, ask      time.Duration // TTLs
		after            time.Duration // of the delegation from the parent's issue
		expires, renewed time.Duration // the delegate's expiry, and with a parent that is renewed just before its own; from the parent's issue
		reduced          bool
	}{
		{"shorter", 2 * h, 10 * m, m, 11 * m, 11 * m, false},
		{"1 ms before", 2 * h, h - ms, h, 2*h - ms, 2*h - ms, false},
		{"as long as the parent", 2 * h, h, h, 2 * h, 2 * h, false},
		{"1 ms longer", 2 * h, h + ms, h, 2 * h, 2*h + ms, true},
		{"much longer", 2 * m, 10 * m, 0, 2 * m, 4*m - ms, true},
		{"the policy's", 20 * m, 0, 5 * m, 20 * m, 35 * m, true},
		{"up to the cap", 8 * h, 5 * h, 3 * h, 8 * h, 8 * h, false},
		{"past the cap", 8 * h, 5*h + ms, 3 * h, 8 * h, 8 * h, true},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: 8 * h, Renewal: lapse.RenewOnRequest}})
			parent := f.issue(lapse.Grant{Subject: "ana", TTL: row.parent})
			f.clock.Add(row.after)
			d := f.delegate(parent, lapse.Grant{TTL: row.ask})
			if want := lapsetest.StartMilli.Add(row.expires); !d.ExpiresAt.Equal(want) || !d.MaxExpiresAt.Equal(parent.MaxExpiresAt) {
				t.Errorf("until %v, cap %v; want %v, %v", d.ExpiresAt, d.MaxExpiresAt, want, parent.MaxExpiresAt)
			}
			if got := fmt.Sprint(d.Reduced); got != map[bool]string{true: "[TTL]", false: "[]"}[row.reduced] {
				t.Errorf("reduced: %s", got)
			}
			lapsetest.WantDiff(t, "seen", d.Token, f.seen(d))
			f.clock.Set(lapsetest.StartMilli.Add(row.parent - ms))
			if _, err := f.Renew(f.ctx, parent.Bearer); err != nil {
				t.Fatal(err)
			}
			if got, want := f.token(d.ID).ExpiresAt, lapsetest.StartMilli.Add(row.renewed); !got.Equal(want) {
				t.Errorf("once its parent is renewed until %v: %v; want %v", f.token(parent.ID).ExpiresAt, got, want)
			}
		})
	}
}

// TestParentRunsOut: with the parent every delegate has run out, and nothing is written.
func TestParentRunsOut(t *testing.T) {
	for _, row := range []struct {
		name  string
		after time.Duration
		want  error
	}{
		{"1 ms before", 30*time.Minute - time.Millisecond, nil},
		{"at", 30 * time.Minute, lapse.ErrExpired},
		{"1 ms after", 30*time.Minute + time.Millisecond, lapse.ErrExpired},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{Renewal: lapse.RenewOnRequest, RenewEvery: time.Hour}})
			parent := f.issue(lapse.Grant{Subject: "ana"})
			near := f.delegate(parent, lapse.Grant{TTL: 10 * time.Hour})
			far := f.delegate(near, lapse.Grant{TTL: 10 * time.Hour})
			f.clock.Set(lapsetest.StartMilli.Add(row.after))
			before := f.contents()
			for n, d := range []lapse.Issued{near, far} {
				var err error
				calls := f.calls(func() { _, err = f.Authenticate(f.ctx, d.Bearer) })
				lapsetest.WantIs(t, "Authenticate", err, row.want)
				lapsetest.WantDiff(t, "calls: one read of each", []storagetest.Op{opGet, opGet, opGet}[:n+2], calls)
				if tok := f.seen(d); !tok.ExpiresAt.Equal(parent.ExpiresAt) || tok.Live(f.clock.Now()) != (row.want == nil) {
					t.Errorf("%+v; want it until %v", tok, parent.ExpiresAt)
				}
			}
			lapsetest.WantDiff(t, "contents", before, f.contents())
			_, err := f.Renew(f.ctx, far.Bearer)
			lapsetest.WantIs(t, "Renew", err, row.want)
			_, err = f.Delegate(f.ctx, far.Bearer, lapse.Grant{})
			lapsetest.WantIs(t, "Delegate", err, row.want)
			if row.want == nil {
				return
			}
			before = f.contents()
			f.events = nil
			if ended, err := f.Expire(f.ctx, far.ID); ended || err != nil {
				t.Errorf("Expire: %v, %v; want false, for it has run out", ended, err)
			}
			if tok, err := f.ExpireBearer(f.ctx, far.Bearer); err != nil || tok != f.token(far.ID) {
				t.Errorf("ExpireBearer: %+v, %v; want it as it was", tok, err)
			}
			if n, err := f.ExpireSubject(f.ctx, "ana"); n != 0 || err != nil {
				t.Errorf("ExpireSubject: %d, %v", n, err)
			}
			lapsetest.WantDiff(t, "contents", before, f.contents())
			lapsetest.WantDiff(t, "events", []lapse.Event(nil), f.events)
		})
	}
}

// TestDelegationDepth: as deep as MaxDelegation and no deeper.
func TestDelegationDepth(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	all := f.chain(1 + lapse.MaxDelegation)
	last := all[lapse.MaxDelegation]
	if _, err := f.Authenticate(f.ctx, last.Bearer); err != nil {
		t.Errorf("%d deep: %v", lapse.MaxDelegation, err)
	}
	for _, i := range all {
		if i.Parent != (lapse.ID{}) && i.Family != all[0].ID {
			t.Errorf("family %v; want that of the first", i.Family)
		}
	}
	before := f.contents()
	_, err := f.Delegate(f.ctx, last.Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "one deeper", err, lapse.ErrNotDelegable)
	if errors.Is(err, lapse.ErrUnauthenticated) || errors.Is(err, lapse.ErrUnavailable) {
		t.Errorf("%v is not what happened", err)
	}
	lapsetest.WantDiff(t, "contents", before, f.contents())
}

// TestDelegateRefuses what Issue and Authenticate would, and leaves everything as it is.
func TestDelegateRefuses(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTTL: 10 * time.Hour}})
	parent, budget := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana", MaxUses: 2})
	ended := f.issue(lapse.Grant{Subject: "ana"})
	if _, err := f.Expire(f.ctx, ended.ID); err != nil {
		t.Fatal(err)
	}
	before := f.contents()
	for _, row := range []struct {
		name, bearer string
		grant        lapse.Grant
		want         error
	}{
		{"a budget", budget.Bearer, lapse.Grant{}, lapse.ErrNotDelegable},
		{"ended", ended.Bearer, lapse.Grant{}, lapse.ErrRevoked},
		{"unknown", strangerTo(t, f), lapse.Grant{}, lapse.ErrUnknown},
		{"malformed", "junk", lapse.Grant{}, lapse.ErrMalformed},
		{"another subject", parent.Bearer, lapse.Grant{Subject: "bob"}, lapse.ErrInvalidGrant},
		{"over the policy's cap", parent.Bearer, lapse.Grant{TTL: 10*time.Hour + time.Millisecond}, lapse.ErrInvalidGrant},
		{"negative TTL", parent.Bearer, lapse.Grant{TTL: -1}, lapse.ErrInvalidGrant},
		{"negative MaxUses", parent.Bearer, lapse.Grant{MaxUses: -1}, lapse.ErrInvalidGrant},
		{"no scope", parent.Bearer, lapse.Grant{Scope: " "}, lapse.ErrInvalidGrant},
	} {
		got, err := f.Delegate(f.ctx, row.bearer, row.grant)
		lapsetest.WantIs(t, row.name, err, row.want)
		if got.Bearer != "" || got.Token != (lapse.Token{}) {
			t.Errorf("%s: it failed and yet gave %v", row.name, got)
		}
		lapsetest.WantDiff(t, row.name+": contents", before, f.contents())
	}
	if d := f.delegate(parent, lapse.Grant{Subject: "ana"}); d.Subject != "ana" {
		t.Errorf("its own subject: %v", d)
	}
}

// TestDamagedParent: whether its delegates are good cannot be told. They log nobody
// out, take no room, hide nobody, and can be ended.
func TestDamagedParent(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	store := &damaged{Store: f.store}
	m, err := lapse.New(store, lapse.Config{Policy: lapse.Policy{MaxTokens: 3}, Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	f.Manager = m
	parent := f.issue(lapse.Grant{Subject: "ana"})
	near := f.delegate(parent, lapse.Grant{})
	far := f.delegate(near, lapse.Grant{})
	store.id = parent.ID
	for _, i := range []lapse.Issued{near, far} {
		for name, verb := range bearerVerbs(m) {
			if name == "ExpireBearer" {
				continue
			}
			err := verb(f.ctx, i.Bearer)
			lapsetest.WantIs(t, name, err, lapse.ErrCorrupt)
			if errors.Is(err, lapse.ErrUnauthenticated) {
				t.Errorf("%s: %v reads as a bad token", name, err)
			}
		}
		_, err := m.Delegate(f.ctx, i.Bearer, lapse.Grant{})
		lapsetest.WantIs(t, "Delegate", err, lapse.ErrCorrupt)
		_, err = m.Token(f.ctx, i.ID)
		lapsetest.WantIs(t, "Token", err, lapse.ErrCorrupt)
	}
	for range 3 {
		f.issue(lapse.Grant{Subject: "ana"}) // there is room for three
	}
	listed := 0
	for tok, err := range m.List(f.ctx, lapse.Query{Subject: "ana"}) {
		listed++
		kin := tok.ID == parent.ID || tok.ID == near.ID || tok.ID == far.ID
		if kin != errors.Is(err, lapse.ErrCorrupt) || kin && tok != (lapse.Token{ID: tok.ID}) {
			t.Errorf("Tokens: %+v, %v", tok, err)
		}
	}
	if listed != 6 {
		t.Errorf("%d listed; want 6", listed)
	}
	if ended, err := m.Expire(f.ctx, near.ID); !ended || err != nil {
		t.Errorf("Expire: %v, %v", ended, err)
	}
	if tok := f.token(far.ID); tok.EndReason != lapse.EndParent {
		t.Errorf("what came from it: %+v", tok)
	}
	if tok, err := m.ExpireBearer(f.ctx, far.Bearer); err != nil || tok.EndReason != lapse.EndParent {
		t.Errorf("ExpireBearer of an ended one: %+v, %v", tok, err)
	}
}

// TestDamagedParentIsNoShield: logging out everywhere ends what cannot be told about.
func TestDamagedParentIsNoShield(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	store := &damaged{Store: f.store}
	m, err := lapse.New(store, lapse.Config{Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	all := f.chain(3)
	store.id = all[0].ID
	if n, err := m.ExpireSubject(f.ctx, "ana"); n != 2 || err != nil {
		t.Errorf("ExpireSubject: %d, %v; want the 2 that can be read", n, err)
	}
	store.id = storage.ID{}
	_, err = m.Authenticate(f.ctx, all[2].Bearer)
	lapsetest.WantIs(t, "once the damage is mended", err, lapse.ErrRevoked)
}

// TestRanOutUnderDamage: what has run out by itself is dead, and whoever ends it is told
// so, whatever cannot be read above it.
func TestRanOutUnderDamage(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	d := f.delegate(parent, lapse.Grant{TTL: time.Minute})
	f.clock.Add(time.Minute)
	m, err := lapse.New(&damaged{f.store, parent.ID}, lapse.Config{Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	if ended, err := m.Expire(f.ctx, d.ID); ended || err != nil {
		t.Errorf("Expire: %v, %v", ended, err)
	}
	if tok, err := m.ExpireBearer(f.ctx, d.Bearer); err != nil || tok.Live(f.clock.Now()) || !tok.EndedAt.IsZero() {
		t.Errorf("ExpireBearer: %+v, %v", tok, err)
	}
	_, err = m.Authenticate(f.ctx, d.Bearer)
	lapsetest.WantIs(t, "Authenticate", err, lapse.ErrExpired)
}

// TestSweptParent: a delegate without its parent is dead, and keeps nobody out.
func TestSweptParent(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 3}})
	all := f.chain(1)
	all = append(all, f.delegate(all[0], lapse.Grant{TTL: 100 * time.Hour}))
	all = append(all, f.delegate(all[1], lapse.Grant{TTL: 100 * time.Hour}))
	f.clock.Add(25 * time.Hour)
	if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
		t.Fatalf("Sweep: %d, %v; want the parent", n, err)
	}
	for _, i := range all[1:] {
		for name, verb := range bearerVerbs(f.Manager) {
			if name != "ExpireBearer" {
				lapsetest.WantIs(t, name, verb(f.ctx, i.Bearer), lapse.ErrExpired)
			}
		}
		_, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{})
		lapsetest.WantIs(t, "Delegate", err, lapse.ErrExpired)
		if tok := f.seen(i); tok.Live(lapsetest.Start) || !tok.ExpiresAt.IsZero() {
			t.Errorf("%+v; want it dead at all times", tok)
		}
		if ended, err := f.Expire(f.ctx, i.ID); ended || err != nil {
			t.Errorf("Expire: %v, %v", ended, err)
		}
	}
	for range 3 {
		f.issue(lapse.Grant{Subject: "ana"})
	}
}

// bent is a store that answers with other records than were asked for.
type bent struct {
	storage.Store
	get func(storage.ID, storage.Record) storage.Record
}

func (b *bent) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	r, err := b.Store.Get(ctx, id)
	return b.get(id, r), err
}

func (b *bent) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return b.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(bentTx{tx, b}) })
}

type bentTx struct {
	storage.Tx
	b *bent
}

func (tx bentTx) Get(id storage.ID) (storage.Record, error) {
	r, err := tx.Tx.Get(id)
	return tx.b.get(id, r), err
}

// TestImpossibleParents: whatever a store says of who is above a delegate, no verb takes
// it for good, and each of them comes to an end.
func TestImpossibleParents(t *testing.T) {
	var f *fixture
	var all []lapse.Issued
	for name, row := range map[string]struct {
		bend func(id storage.ID, r storage.Record) storage.Record
		want error
	}{
		"another record for the parent": {func(id storage.ID, r storage.Record) storage.Record {
			if id == all[0].ID {
				r.ID = all[1].ID
			}
			return r
		}, lapse.ErrCorrupt},
		"a parent of another subject": {func(id storage.ID, r storage.Record) storage.Record {
			if id == all[0].ID {
				r.Subject = "bob"
			}
			return r
		}, lapse.ErrExpired},
		"its own parent": {func(id storage.ID, r storage.Record) storage.Record {
			if id == all[0].ID {
				r.Parent = r.ID
			}
			return r
		}, lapse.ErrExpired},
		"its delegate's delegate": {func(id storage.ID, r storage.Record) storage.Record {
			if id == all[0].ID {
				r.Parent = all[2].ID
			}
			return r
		}, lapse.ErrExpired},
		"a parent that nobody knows": {func(id storage.ID, r storage.Record) storage.Record {
			if id == all[0].ID {
				r.Parent = storage.ID{1}
			}
			return r
		}, lapse.ErrExpired},
		"a parent without an expiry": {func(id storage.ID, r storage.Record) storage.Record {
			if id == all[0].ID {
				r.ExpiresAt = time.Time{}
			}
			return r
		}, lapse.ErrExpired},
	} {
		t.Run(name, func(t *testing.T) {
			f = newFixture(t, lapse.Config{})
			all = f.chain(3)
			m, err := lapse.New(&bent{f.store, row.bend}, lapse.Config{Clock: f.clock})
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range all[1:] {
				for name, verb := range bearerVerbs(m) {
					if name != "ExpireBearer" {
						lapsetest.WantIs(t, name, verb(f.ctx, i.Bearer), row.want)
					}
				}
				_, err := m.Delegate(f.ctx, i.Bearer, lapse.Grant{})
				lapsetest.WantIs(t, "Delegate", err, row.want)
			}
			if _, err := m.ExpireSubject(f.ctx, "ana"); errors.Is(err, lapse.ErrUnauthenticated) {
				t.Errorf("ExpireSubject: %v", err)
			}
		})
	}
}

// TestParentOfAnotherPrefix: a policy binds the tokens of its own prefix alone, those
// above a delegate as well.
func TestParentOfAnotherPrefix(t *testing.T) {
	ctx, clock, store := context.Background(), lapsetest.NewClock(), memory.New()
	make := func(prefix string, p lapse.Policy) *lapse.Manager {
		m, err := lapse.New(store, lapse.Config{Prefix: prefix, Policy: p, Clock: clock})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	app, admin := make("app", lapse.Policy{TTL: time.Hour}), make("admin", lapse.Policy{TTL: time.Minute, MaxTTL: time.Minute})
	parent, err := app.Issue(ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	d, err := app.Delegate(ctx, parent.Bearer, lapse.Grant{TTL: 2 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	if tok, err := admin.Token(ctx, d.ID); err != nil || tok != d.Token {
		t.Errorf("seen by another Manager: %+v, %v; want what its own one sees", tok, err)
	}
	_, err = admin.Authenticate(ctx, d.Bearer)
	lapsetest.WantIs(t, "under another prefix", err, lapse.ErrUnknown)
	if ended, err := admin.Expire(ctx, parent.ID); !ended || err != nil {
		t.Errorf("Expire: %v, %v", ended, err)
	}
	if tok, err := admin.Token(ctx, d.ID); err != nil || tok.EndReason != lapse.EndParent {
		t.Errorf("after the end of its parent: %+v, %v", tok, err)
	}
}

// ends are the ways in which the first of a chain ends.
var ends = []struct {
	name   string
	why    lapse.EndReason
	others bool // whether the whole subject ends for the same reason
	end    func(f *fixture, parent lapse.Issued) error
}{
	{"Expire", lapse.EndRevoked, false, func(f *fixture, parent lapse.Issued) error {
		_, err := f.Expire(f.ctx, parent.ID)
		return err
	}},
	{"ExpireBearer", lapse.EndRevoked, false, func(f *fixture, parent lapse.Issued) error {
		_, err := f.ExpireBearer(f.ctx, parent.Bearer)
		return err
	}},
	{"ExpireSubject", lapse.EndSubject, true, func(f *fixture, parent lapse.Issued) error {
		_, err := f.ExpireSubject(f.ctx, "ana")
		return err
	}},
	{"eviction", lapse.EndEvicted, false, func(f *fixture, parent lapse.Issued) error {
		_, err := f.manager(lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: lapse.LimitEndOldest}}).Issue(f.ctx, lapse.Grant{Subject: "ana"})
		return err
	}},
}

// TestEndOfParentEndsDelegates near and far, in one transaction, each told once and
// after the effect, and nothing else.
func TestEndOfParentEndsDelegates(t *testing.T) {
	for _, row := range ends {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{})
			family := f.chain(3)
			family = append(family, f.delegate(family[0], lapse.Grant{Name: "second"}))
			f.clock.Add(time.Millisecond)
			other := f.issue(lapse.Grant{Subject: "ana"})
			others := f.delegate(other, lapse.Grant{})
			f.clock.Add(time.Minute)
			now := f.clock.Now().Truncate(time.Millisecond).UTC()
			f.events = nil
			told := 0
			m := f.Manager
			f.Manager = observed(f, func(_ context.Context, e lapse.Event) {
				told++
				if e.Kind == lapse.EventEnded && e.Token != f.token(e.Token.ID) {
					t.Errorf("told of %+v before it was so", e.Token)
				}
			})
			calls := f.calls(func() {
				if err := row.end(f, family[0]); err != nil {
					t.Fatal(err)
				}
			})
			f.Manager = m
			updates := 0
			for _, op := range calls {
				if op == opUpdate {
					updates++
				}
			}
			if updates != 1 {
				t.Errorf("calls: %v; want one Update", calls)
			}
			for n, i := range family {
				want := lapse.EndParent
				if n == 0 || row.others {
					want = row.why
				}
				if tok := f.seen(i); tok.EndReason != want || !tok.EndedAt.Equal(now) {
					t.Errorf("token %d: ended at %v by %v; want %v by %v", n, tok.EndedAt, tok.EndReason, now, want)
				}
				_, err := f.Authenticate(f.ctx, i.Bearer)
				lapsetest.WantIs(t, fmt.Sprint("Authenticate of ", n), err, lapse.ErrRevoked)
			}
			wantRecordsAgree(t, f)
			for _, i := range []lapse.Issued{other, others} {
				if tok := f.seen(i); tok.EndedAt.IsZero() == row.others {
					t.Errorf("one of no kin: %+v", tok)
				}
			}
			if row.name != "eviction" && told != map[bool]int{true: 6, false: 4}[row.others] {
				t.Errorf("told %d times", told)
			}
		})
	}
}

// wantRecordsAgree: it is not enough that a delegate of an ended token is denied. Its
// own record says so.
func wantRecordsAgree(t *testing.T, f *fixture) {
	t.Helper()
	records := make(map[lapse.ID]storage.Record)
	for _, r := range f.contents() {
		records[r.ID] = r
	}
	for _, r := range records {
		if parent := records[r.Parent]; !parent.EndedAt.IsZero() && r.EndedAt.IsZero() {
			t.Errorf("by its record %v lives, and its parent is ended (%v)", r.ID, parent.EndReason)
		}
	}
}

// observed is the fixture's Manager with another observer.
func observed(f *fixture, observe func(context.Context, lapse.Event)) *lapse.Manager {
	f.t.Helper()
	m, err := lapse.New(f.store, lapse.Config{Clock: f.clock, Observe: observe})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// TestEndOfTheMiddleOne leaves those above it, and ends those below.
func TestEndOfTheMiddleOne(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	all := f.chain(4)
	f.clock.Add(time.Minute)
	f.events = nil
	if _, err := f.ExpireBearer(f.ctx, all[1].Bearer); err != nil {
		t.Fatal(err)
	}
	var told []lapse.ID
	for _, e := range f.events {
		told = append(told, e.Token.ID)
	}
	lapsetest.WantDiff(t, "told of the ends", []lapse.ID{all[1].ID, all[2].ID, all[3].ID}, told)
	for n, want := range []lapse.EndReason{0, lapse.EndRevoked, lapse.EndParent, lapse.EndParent} {
		if tok := f.seen(all[n]); tok.EndReason != want {
			t.Errorf("token %d: %v; want %v", n, tok.EndReason, want)
		}
	}
	_, err := f.Delegate(f.ctx, all[2].Bearer, lapse.Grant{})
	lapsetest.WantIs(t, "Delegate from one below", err, lapse.ErrRevoked)
	if d := f.delegate(all[0], lapse.Grant{}); d.Parent != all[0].ID {
		t.Errorf("from the first: %+v", d)
	}
}

// TestKeptDelegate: one to keep is ended with the one that it came from.
func TestKeptDelegate(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	all := f.chain(3)
	other := f.issue(lapse.Grant{Subject: "ana"})
	others := f.delegate(other, lapse.Grant{})
	f.clock.Add(time.Minute)
	f.events = nil
	var n int
	calls := f.calls(func() {
		var err error
		if n, err = f.ExpireSubject(f.ctx, "ana", all[2].ID, other.ID); err != nil {
			t.Fatal(err)
		}
	})
	if n != 4 || len(f.events) != 4 {
		t.Errorf("ended %d, told %d times; want 4", n, len(f.events))
	}
	lapsetest.WantDiff(t, "calls", []storagetest.Op{opUpdate}, calls)
	for i, want := range map[lapse.ID]lapse.EndReason{
		all[0].ID: lapse.EndSubject, all[1].ID: lapse.EndSubject, all[2].ID: lapse.EndParent, other.ID: 0, others.ID: lapse.EndSubject,
	} {
		if got := f.token(i).EndReason; got != want {
			t.Errorf("%v: %v; want %v", i, got, want)
		}
	}
}

// TestEndIsForAllTime: a delegate that had run out before the end of its parent does
// not come back when the clock steps back, although nothing of it was written.
func TestEndIsForAllTime(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana", TTL: time.Hour})
	near := f.delegate(parent, lapse.Grant{TTL: time.Minute})
	far := f.delegate(near, lapse.Grant{TTL: time.Hour})
	f.clock.Add(2 * time.Minute)
	before := f.contents()
	f.events = nil
	if tok, err := f.ExpireBearer(f.ctx, parent.Bearer); err != nil || tok.EndReason != lapse.EndRevoked {
		t.Fatalf("%+v, %v", tok, err)
	}
	if len(f.events) != 1 {
		t.Errorf("told of %d ends; want that of the parent alone", len(f.events))
	}
	isParent := func(r storage.Record) bool { return r.ID == parent.ID }
	lapsetest.WantDiff(t, "the others' records", slices.DeleteFunc(before, isParent), slices.DeleteFunc(f.contents(), isParent))
	f.clock.Add(-90 * time.Second)
	for i, want := range map[*lapse.Issued]error{&near: lapse.ErrExpired, &far: lapse.ErrRevoked} {
		_, err := f.Authenticate(f.ctx, i.Bearer)
		lapsetest.WantIs(t, "Authenticate", err, want)
		if tok := f.seen(*i); tok.EndReason != lapse.EndParent || !tok.EndedAt.Equal(lapsetest.StartMilli.Add(2*time.Minute)) {
			t.Errorf("%+v; want it ended with its parent", tok)
		}
		_, err = f.Renew(f.ctx, i.Bearer)
		lapsetest.WantIs(t, "Renew", err, want)
	}
}

// TestDelegateAgainstEnd lets delegations from a token and its delegate loose on the end
// of the token, all of them judged before any has its turn: no live delegate of a dead
// parent is left.
func TestDelegateAgainstEnd(t *testing.T) {
	for name, end := range map[string]func(ctx context.Context, m *lapse.Manager, i lapse.Issued) error{
		"ExpireBearer": func(ctx context.Context, m *lapse.Manager, i lapse.Issued) error {
			_, err := m.ExpireBearer(ctx, i.Bearer)
			return err
		},
		"ExpireSubject": func(ctx context.Context, m *lapse.Manager, i lapse.Issued) error {
			_, err := m.ExpireSubject(ctx, i.Subject)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
				for range 5 {
					delegateAgainstEnd(t, store, end)
				}
			})
		})
	}
}

func delegateAgainstEnd(t *testing.T, store *storagetest.Faulty, end func(context.Context, *lapse.Manager, lapse.Issued) error) {
	t.Helper()
	const callers = 64
	ctx := context.Background()
	m, clock := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
	parent, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	near, err := m.Delegate(ctx, parent.Bearer, lapse.Grant{})
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var made []lapse.Issued
	lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
	errs := lapsetest.Together(callers, func(n int) error {
		if n == callers/2 {
			return end(ctx, m, parent)
		}
		d, err := m.Delegate(ctx, []string{parent.Bearer, near.Bearer}[n%2], lapse.Grant{})
		if err == nil {
			mu.Lock()
			made = append(made, d)
			mu.Unlock()
		}
		return lapsetest.Ignore(err, lapse.ErrRevoked)
	})
	store.Before(nil)
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
	for rec, err := range store.List(ctx, storage.Filter{}) {
		if err != nil || rec.EndedAt.IsZero() {
			t.Errorf("after the end: %+v, %v", rec, err)
		}
	}
	for _, d := range made {
		_, err := m.Authenticate(ctx, d.Bearer)
		lapsetest.WantIs(t, "Authenticate", err, lapse.ErrRevoked)
	}
	clock.Add(time.Millisecond)
}

// TestUseAgainstEndOfParent: a delegate that is used while its parent ends is good
// before and dead after, and comes to no other end.
func TestUseAgainstEndOfParent(t *testing.T) {
	const callers = 64
	for _, uses := range []int{0, 1000} {
		lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
			ctx := context.Background()
			m, clock := lapsetest.GateManager(t, store, lapse.Policy{})
			parent, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
			if err != nil {
				t.Fatal(err)
			}
			d, err := m.Delegate(ctx, parent.Bearer, lapse.Grant{MaxUses: uses})
			if err != nil {
				t.Fatal(err)
			}
			clock.Add(time.Second)
			lapsetest.Arrivals(store, callers, storagetest.OpGet)
			errs := lapsetest.Together(callers, func(n int) error {
				switch n % 8 {
				case 0:
					_, err := m.ExpireBearer(ctx, parent.Bearer)
					return err
				case 1:
					_, err := m.Renew(ctx, d.Bearer)
					return lapsetest.Ignore(err, lapse.ErrRevoked)
				default:
					_, err := m.Authenticate(ctx, d.Bearer)
					return lapsetest.Ignore(err, lapse.ErrRevoked)
				}
			})
			store.Before(nil)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			if tok, err := m.Token(ctx, d.ID); err != nil || tok.EndReason != lapse.EndParent {
				t.Errorf("after the race: %+v, %v", tok, err)
			}
			_, err = m.Authenticate(ctx, d.Bearer)
			lapsetest.WantIs(t, "Authenticate after the race", err, lapse.ErrRevoked)
		})
	}
}

// TestEndAgainstRoomForOneMore lets delegations loose on issues that evict, the parent
// among others: the limit holds, and no delegate outlives its parent.
func TestEndAgainstRoomForOneMore(t *testing.T) {
	const callers = 64
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: 5, AtLimit: lapse.LimitEndOldest})
		parent, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		clock.Add(time.Second)
		lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
		errs := lapsetest.Together(callers, func(n int) error {
			if n%2 == 0 {
				_, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
				return err
			}
			_, err := m.Delegate(ctx, parent.Bearer, lapse.Grant{})
			return lapsetest.Ignore(err, lapse.ErrRevoked)
		})
		store.Before(nil)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		live, ended := 0, make(map[lapse.ID]bool)
		for rec, err := range store.List(ctx, storage.Filter{}) {
			if err != nil {
				t.Fatal(err)
			}
			if ended[rec.ID] = !rec.EndedAt.IsZero(); !ended[rec.ID] {
				live++
			}
			if ended[rec.Parent] && !ended[rec.ID] { // the parent is the oldest, so it came first
				t.Errorf("%+v outlives its parent", rec)
			}
		}
		if live != 5 {
			t.Errorf("%d live; want 5", live)
		}
	})
}

// TestMaxDelegatesUnder64Callers: as many succeed as there is room for.
func TestMaxDelegatesUnder64Callers(t *testing.T) {
	const limit, callers = 5, 64
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, _ := lapsetest.GateManager(t, store, lapse.Policy{MaxTokens: 1, MaxDelegates: limit})
		parent, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
		errs := lapsetest.Together(callers, func(int) error {
			_, err := m.Delegate(ctx, parent.Bearer, lapse.Grant{})
			return err
		})
		store.Before(nil)
		made := 0
		for _, err := range errs {
			if err == nil {
				made++
			} else if !errors.Is(err, lapse.ErrLimit) {
				t.Errorf("Delegate: %v", err)
			}
		}
		if made != limit {
			t.Errorf("%d delegates; want %d", made, limit)
		}
	})
}

// TestDelegatesTakeNoRoom: delegates do not count towards MaxTokens, whatever AtLimit
// says, and the limit is that of the tokens that were logged in.
func TestDelegatesTakeNoRoom(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 2, AtLimit: atLimit}})
		all := f.chain(1 + lapse.MaxDelegation)
		for range 5 {
			all = append(all, f.delegate(all[0], lapse.Grant{}))
		}
		f.clock.Add(time.Minute)
		all = append(all, f.issue(lapse.Grant{Subject: "ana"}))
		for range 2 { // at the limit, too
			d := f.delegate(all[0], lapse.Grant{})
			if len(d.Evicted) != 0 {
				t.Errorf("AtLimit %d: a delegate evicted %v", atLimit, d.Evicted)
			}
			all = append(all, d)
		}
		for n, i := range all {
			if _, err := f.Peek(f.ctx, i.Bearer); err != nil {
				t.Errorf("AtLimit %d: token %d: %v", atLimit, n, err)
			}
		}
		if atLimit == lapse.LimitRefuse {
			_, err := f.Issue(f.ctx, lapse.Grant{Subject: "ana"})
			lapsetest.WantIs(t, "a third that was logged in", err, lapse.ErrLimit)
		}
	}
}

// TestMaxDelegates: a token has as many live delegates as the policy says, and no more.
func TestMaxDelegates(t *testing.T) {
	for _, row := range []struct {
		name  string
		limit int
		have  int // delegates before the one that is asked for
		want  error
	}{
		{"one below", 3, 1, nil},
		{"the last", 3, 2, nil},
		{"at the limit", 3, 3, lapse.ErrLimit},
		{"the only one", 1, 0, nil},
		{"a second of one", 1, 1, lapse.ErrLimit},
		{"the default, the last", 0, 99, nil},
		{"the default, one more", 0, 100, lapse.ErrLimit},
		{"lifted", lapse.NoTokenLimit, 150, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 1, MaxDelegates: row.limit}})
			parent := f.issue(lapse.Grant{Subject: "ana"})
			for range row.have {
				f.delegate(parent, lapse.Grant{})
			}
			before := f.contents()
			f.events = nil
			d, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{})
			lapsetest.WantIs(t, "one more", err, row.want)
			if row.want == nil {
				return
			}
			if errors.Is(err, lapse.ErrUnauthenticated) || errors.Is(err, lapse.ErrUnavailable) || d.Bearer != "" {
				t.Errorf("%v with %v", err, d)
			}
			lapsetest.WantDiff(t, "contents", before, f.contents())
			lapsetest.WantDiff(t, "events", []lapse.Event(nil), f.events)
		})
	}
}

// TestMaxDelegatesIsNotNegative, and the error names the field.
func TestMaxDelegatesIsNotNegative(t *testing.T) {
	_, err := lapse.New(newFixture(t, lapse.Config{}).store, lapse.Config{Policy: lapse.Policy{MaxDelegates: -1}})
	lapsetest.WantIs(t, "New", err, lapse.ErrInvalidConfig)
	if err == nil || !strings.Contains(err.Error(), "Policy.MaxDelegates: -1") {
		t.Errorf("%v; want the field and its value", err)
	}
}

// TestDeadDelegatesDoNotCount, however they died.
func TestDeadDelegatesDoNotCount(t *testing.T) {
	const ms, m = time.Millisecond, time.Minute
	for _, row := range []struct {
		name string
		die  func(f *fixture, d lapse.Issued)
		want error
	}{
		{"alive", func(*fixture, lapse.Issued) {}, lapse.ErrLimit},
		{"1 ms before it runs out", func(f *fixture, _ lapse.Issued) { f.clock.Add(10*m - ms) }, lapse.ErrLimit},
		{"as it runs out", func(f *fixture, _ lapse.Issued) { f.clock.Add(10 * m) }, nil},
		{"1 ms after it ran out", func(f *fixture, _ lapse.Issued) { f.clock.Add(10*m + ms) }, nil},
		{"ended", func(f *fixture, d lapse.Issued) { f.Expire(f.ctx, d.ID) }, nil},
		{"its budget is spent", func(f *fixture, d lapse.Issued) { f.Authenticate(f.ctx, d.Bearer) }, nil},
		{"swept", func(f *fixture, d lapse.Issued) {
			f.clock.Add(26 * time.Hour)
			if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
				f.t.Fatalf("Sweep: %d, %v", n, err)
			}
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxDelegates: 2}})
			parent := f.issue(lapse.Grant{Subject: "ana", TTL: 100 * time.Hour})
			f.delegate(parent, lapse.Grant{TTL: 100 * time.Hour})
			row.die(f, f.delegate(parent, lapse.Grant{TTL: 10 * m, MaxUses: 1}))
			_, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{})
			lapsetest.WantIs(t, "one more", err, row.want)
		})
	}
}

// TestOnlyItsOwnDelegatesCount: those of its delegates, and those of another token of the
// subject, are not the token's.
func TestOnlyItsOwnDelegatesCount(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxDelegates: 2}})
	parent, other := f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"})
	near := f.delegate(parent, lapse.Grant{})
	for _, i := range []lapse.Issued{near, near, other, other} {
		f.delegate(i, lapse.Grant{})
	}
	f.delegate(parent, lapse.Grant{})
	for n, i := range []lapse.Issued{parent, near, other} {
		if _, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{}); !errors.Is(err, lapse.ErrLimit) {
			t.Errorf("a third of token %d: %v; want ErrLimit", n, err)
		}
	}
}

// TestDelegatesOfARotatedTokenCount on, since the token is what it was; an overlap of 0
// ends them, and they count no more.
func TestDelegatesOfARotatedTokenCount(t *testing.T) {
	for _, row := range []struct {
		overlap time.Duration
		want    error
	}{{time.Minute, lapse.ErrLimit}, {0, nil}} {
		f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxDelegates: 1}})
		parent := f.issue(lapse.Grant{Subject: "ana"})
		f.delegate(parent, lapse.Grant{})
		next, err := f.Rotate(f.ctx, parent.Bearer, row.overlap)
		if err != nil {
			t.Fatal(err)
		}
		_, err = f.Delegate(f.ctx, next.Bearer, lapse.Grant{})
		lapsetest.WantIs(t, row.overlap.String(), err, row.want)
	}
}

// TestDelegatesOfASessionCount through its refreshes, by each access text.
func TestDelegatesOfASessionCount(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	p, err := lapse.NewPairs(f.store, lapse.PairConfig{Access: lapse.Config{Clock: f.clock, Policy: lapse.Policy{MaxDelegates: 2}}})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Issue(f.ctx, lapse.Grant{Subject: "ana"})
	for n, want := range []error{nil, nil, lapse.ErrLimit, lapse.ErrLimit} {
		if err != nil {
			t.Fatal(err)
		}
		_, err = p.Access().Delegate(f.ctx, c.Access.Bearer, lapse.Grant{})
		lapsetest.WantIs(t, "delegate", err, want)
		if n == 2 {
			f.clock.Add(10 * time.Minute)
		}
		c, err = p.Refresh(f.ctx, c.Refresh.Bearer)
	}
}

// TestEvictionWithDelegates ends what has to go, what came from that, and no more.
func TestEvictionWithDelegates(t *testing.T) {
	for _, row := range []struct {
		name  string
		limit int
		goes  []int // of parent, delegate, other, youngest
	}{
		{"room for one more", 4, nil},
		{"one too many, and its delegate", 3, []int{0, 1}},
		{"two too many", 2, []int{0, 1, 2}},
		{"all", 1, []int{0, 1, 2, 3}},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{})
			all := []lapse.Issued{f.issue(lapse.Grant{Subject: "ana"})}
			for range 2 {
				f.clock.Add(time.Minute)
				all = append(all, f.issue(lapse.Grant{Subject: "ana"}))
			}
			f.clock.Add(time.Minute) // the delegate is the youngest
			all = slices.Insert(all, 1, f.delegate(all[0], lapse.Grant{}))
			f.clock.Add(time.Minute)
			f.events = nil
			m := f.manager(lapse.Config{Policy: lapse.Policy{MaxTokens: row.limit, AtLimit: lapse.LimitEndOldest}})
			got, err := m.Issue(f.ctx, lapse.Grant{Subject: "ana"})
			if err != nil {
				t.Fatal(err)
			}
			var want []lapse.ID
			for _, n := range row.goes {
				want = append(want, all[n].ID)
			}
			lapsetest.WantDiff(t, "evicted", want, got.Evicted)
			if len(f.events) != len(want)+1 {
				t.Errorf("told %d times; want each end once, and the issue", len(f.events))
			}
			for n, i := range all {
				reason := lapse.EndEvicted
				if n == 1 {
					reason = lapse.EndParent
				}
				if !slices.Contains(row.goes, n) {
					reason = 0
				}
				if tok := f.token(i.ID); tok.EndReason != reason {
					t.Errorf("token %d: %v; want %v", n, tok.EndReason, reason)
				}
			}
		})
	}
}

// TestRenewalOfDelegates: what each renewal returns and tells is what every other call
// answers, whether the delegate or those above it run out first.
func TestRenewalOfDelegates(t *testing.T) {
	const m, h = time.Minute, time.Hour
	for _, row := range []struct {
		name            string
		parent, ttl     time.Duration
		uses            int // of the delegate, 0 for as often as it lives
		byUse, byCall   time.Duration
		toldUse, budget bool
	}{
		{name: "the delegate runs out first", parent: 10 * h, ttl: 30 * m, byUse: 40 * m, byCall: 50 * m, toldUse: true},
		{name: "the parent does", parent: 30 * m, ttl: 2 * h, byUse: 30 * m, byCall: 30 * m},
		{name: "the parent does once the delegate is renewed", parent: 35 * m, ttl: 30 * m, byUse: 35 * m, byCall: 35 * m, toldUse: true},
		{name: "a budget, the delegate first", parent: 10 * h, ttl: 30 * m, uses: 5, byUse: 40 * m, byCall: 50 * m, toldUse: true},
		{name: "a budget, the parent first", parent: 30 * m, ttl: 2 * h, uses: 5, byUse: 30 * m, byCall: 30 * m},
		{name: "a budget, the parent once the delegate is renewed", parent: 35 * m, ttl: 30 * m, uses: 5, byUse: 35 * m, byCall: 35 * m, toldUse: true},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{})
			parent := f.issue(lapse.Grant{Subject: "ana", TTL: row.parent})
			d := f.delegate(parent, lapse.Grant{TTL: row.ttl, MaxUses: row.uses})
			f.events = nil
			f.clock.Add(10 * m)
			got, err := f.Authenticate(f.ctx, d.Bearer)
			lapsetest.WantIs(t, "Authenticate", err, nil)
			lapsetest.WantDiff(t, "used and seen", f.seen(d), got)
			if want := lapsetest.StartMilli.Add(row.byUse); !got.ExpiresAt.Equal(want) {
				t.Errorf("a use renews until %v; want %v", got.ExpiresAt, want)
			}
			told := []lapse.Event{{Kind: lapse.EventRenewed, At: lapsetest.StartMilli.Add(10 * m), Token: got}}
			if !row.toldUse {
				told = nil
			}
			lapsetest.WantDiff(t, "events of the use", told, f.events)
			f.events = nil
			f.clock.Add(10 * m)
			got, err = f.Renew(f.ctx, d.Bearer)
			lapsetest.WantIs(t, "Renew", err, nil)
			lapsetest.WantDiff(t, "renewed and seen", f.seen(d), got)
			if want := lapsetest.StartMilli.Add(row.byCall); !got.ExpiresAt.Equal(want) {
				t.Errorf("Renew renews until %v; want %v", got.ExpiresAt, want)
			}
			lapsetest.WantDiff(t, "events of Renew", []lapse.Event{{Kind: lapse.EventRenewed, At: lapsetest.StartMilli.Add(20 * m), Token: got}}, f.events)
		})
	}
}

// TestParentDiesBeforeTheTurn: a verb that was judged in time, but whose turn came
// after a parent had run out or was ended, is refused and writes nothing.
func TestParentDiesBeforeTheTurn(t *testing.T) {
	verbs := map[string]func(f *fixture, i lapse.Issued) error{
		"Renew": func(f *fixture, i lapse.Issued) error {
			_, err := f.Renew(f.ctx, i.Bearer)
			return err
		},
		"Confirm": func(f *fixture, i lapse.Issued) error {
			_, err := f.Confirm(f.ctx, i.Bearer)
			return err
		},
		"Authenticate": func(f *fixture, i lapse.Issued) error {
			_, err := f.Authenticate(f.ctx, i.Bearer)
			return err
		},
		"Delegate": func(f *fixture, i lapse.Issued) error {
			_, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{})
			return err
		},
	}
	for name, verb := range verbs {
		for end, happens := range map[string]func(f *fixture, parent lapse.Issued){
			"ran out": func(f *fixture, _ lapse.Issued) { f.clock.Add(30 * time.Minute) },
			"ended":   func(f *fixture, parent lapse.Issued) { f.Expire(f.ctx, parent.ID) },
			"swept": func(f *fixture, _ lapse.Issued) {
				f.clock.Add(26 * time.Hour)
				if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
					f.t.Errorf("Sweep: %d, %v", n, err)
				}
			},
		} {
			t.Run(name+"/"+end, func(t *testing.T) {
				f := newFixture(t, lapse.Config{})
				parent := f.issue(lapse.Grant{Subject: "ana"})
				uses := map[bool]int{true: 2}[name == "Authenticate"]
				d := f.delegate(parent, lapse.Grant{TTL: 100 * time.Hour, MaxUses: uses})
				f.store.Before(func(op storagetest.Op) {
					if op == opUpdate {
						f.store.Before(nil)
						happens(f, parent)
					}
				})
				f.events = nil
				err := verb(f, d)
				lapsetest.WantIs(t, "error", err, map[string]error{"ended": lapse.ErrRevoked, "ran out": lapse.ErrExpired, "swept": lapse.ErrExpired}[end])
				if last := f.events[len(f.events)-1]; last.Kind != lapse.EventRejected {
					t.Errorf("last event %v; want the rejection", last.Kind)
				}
				if tok := f.seen(d); !tok.LastUsedAt.IsZero() || tok.UsesLeft != uses {
					t.Errorf("%+v; want it unused", tok)
				}
			})
		}
	}
}

// TestLoweredCapOfTheFirst: the cap of a policy that was lowered counts from the issue
// of the first, and binds all below it, those that are delegated later as well.
func TestLoweredCapOfTheFirst(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{TTL: 10 * time.Hour}})
	first := f.issue(lapse.Grant{Subject: "ana"})
	f.clock.Add(30 * time.Minute)
	near := f.delegate(first, lapse.Grant{TTL: 9 * time.Hour})
	f.clock.Add(10 * time.Minute)
	f.Manager = f.manager(lapse.Config{Policy: lapse.Policy{TTL: time.Minute, MaxTTL: time.Hour}})
	limit := lapsetest.StartMilli.Add(time.Hour)
	far := f.delegate(near, lapse.Grant{TTL: 50 * time.Minute})
	lapsetest.WantDiff(t, "reduced", []string{"TTL"}, far.Reduced)
	for n, i := range []lapse.Issued{near, far} {
		if tok := f.seen(i); !tok.ExpiresAt.Equal(limit) || !tok.MaxExpiresAt.Equal(limit) {
			t.Errorf("token %d: until %v, cap %v; want %v", n, tok.ExpiresAt, tok.MaxExpiresAt, limit)
		}
	}
	lapsetest.WantDiff(t, "issued and seen", f.seen(far), far.Token)
	tok, err := f.Renew(f.ctx, far.Bearer)
	if err != nil || !tok.ExpiresAt.Equal(limit) {
		t.Errorf("Renew: until %v, %v", tok.ExpiresAt, err)
	}
	f.clock.Set(limit)
	for _, i := range []lapse.Issued{near, far} {
		_, err := f.Peek(f.ctx, i.Bearer)
		lapsetest.WantIs(t, "at the lowered cap", err, lapse.ErrExpired)
	}
	if ended, err := f.Expire(f.ctx, near.ID); !ended || err != nil {
		t.Errorf("Expire of one that a policy alone keeps out: %v, %v; want it ended for good", ended, err)
	}
	f.Manager = f.manager(lapse.Config{})
	_, err = f.Peek(f.ctx, near.Bearer)
	lapsetest.WantIs(t, "under the first policy again", err, lapse.ErrRevoked)
}
