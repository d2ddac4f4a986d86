package lapse_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
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
	f.clock.add(time.Millisecond) // so that it is the oldest
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
	for other, err := range f.Tokens(f.ctx, i.Subject) {
		if err != nil {
			f.t.Fatalf("Tokens: %v", err)
		}
		if other.ID == i.ID {
			listed++
			wantDiff(f.t, "Tokens and Token", tok, other)
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
		wantDiff(f.t, "Peek and Token", tok, peeked)
	}
	return tok
}

func TestDelegate(t *testing.T) {
	f := newFixture(t, lapse.Config{Prefix: "app"})
	parent := f.issue(lapse.Grant{Subject: "ana", Name: "laptop", Scope: "read write", Data: "secret"})
	f.clock.add(time.Minute)
	f.events = nil
	var got lapse.Issued
	calls := f.calls(func() {
		got = f.delegate(parent, lapse.Grant{Name: "backup", Scope: "read", Data: "x", TTL: 10 * time.Minute, MaxUses: 3})
	})
	now := startMilli.Add(time.Minute)
	want := lapse.Token{
		ID: got.ID, Prefix: "app", Subject: "ana", Name: "backup", Scope: "read", Data: "x",
		IssuedAt: now, ExpiresAt: now.Add(10 * time.Minute), MaxExpiresAt: startMilli.Add(30 * 24 * time.Hour),
		Family: parent.ID, Parent: parent.ID, MaxUses: 3, UsesLeft: 3,
	}
	wantDiff(t, "issued", want, got.Token)
	wantDiff(t, "seen", want, f.seen(got))
	wantDiff(t, "reduced", []string(nil), got.Reduced)
	wantDiff(t, "events", []lapse.Event{{Kind: lapse.EventIssued, At: now, Token: want}}, f.events)
	wantDiff(t, "calls", []storagetest.Op{opGet, opUpdate}, calls)
	parent.Family = parent.ID
	wantDiff(t, "the parent", parent.Token, f.seen(parent))
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
		wantIs(t, scope, err, lapse.ErrScope)
		if errors.Is(err, lapse.ErrUnauthenticated) || !strings.Contains(err.Error(), missing) {
			t.Errorf("%q: %v; want a 403 that names %s", scope, err, missing)
		}
	}
	none := f.issue(lapse.Grant{Subject: "ana"})
	_, err := f.Delegate(f.ctx, none.Bearer, lapse.Grant{Scope: "a"})
	wantIs(t, "of a token without scope", err, lapse.ErrScope)
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
			f.clock.add(row.after)
			d := f.delegate(parent, lapse.Grant{TTL: row.ask})
			if want := startMilli.Add(row.expires); !d.ExpiresAt.Equal(want) || !d.MaxExpiresAt.Equal(parent.MaxExpiresAt) {
				t.Errorf("until %v, cap %v; want %v, %v", d.ExpiresAt, d.MaxExpiresAt, want, parent.MaxExpiresAt)
			}
			if got := fmt.Sprint(d.Reduced); got != map[bool]string{true: "[TTL]", false: "[]"}[row.reduced] {
				t.Errorf("reduced: %s", got)
			}
			wantDiff(t, "seen", d.Token, f.seen(d))
			f.clock.set(startMilli.Add(row.parent - ms))
			if _, err := f.Renew(f.ctx, parent.Bearer); err != nil {
				t.Fatal(err)
			}
			if got, want := f.token(d.ID).ExpiresAt, startMilli.Add(row.renewed); !got.Equal(want) {
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
			f.clock.set(startMilli.Add(row.after))
			before := f.contents()
			for n, d := range []lapse.Issued{near, far} {
				var err error
				calls := f.calls(func() { _, err = f.Authenticate(f.ctx, d.Bearer) })
				wantIs(t, "Authenticate", err, row.want)
				wantDiff(t, "calls: one read of each", []storagetest.Op{opGet, opGet, opGet}[:n+2], calls)
				if tok := f.seen(d); !tok.ExpiresAt.Equal(parent.ExpiresAt) || tok.Live(f.clock.Now()) != (row.want == nil) {
					t.Errorf("%+v; want it until %v", tok, parent.ExpiresAt)
				}
			}
			wantDiff(t, "contents", before, f.contents())
			_, err := f.Renew(f.ctx, far.Bearer)
			wantIs(t, "Renew", err, row.want)
			_, err = f.Delegate(f.ctx, far.Bearer, lapse.Grant{})
			wantIs(t, "Delegate", err, row.want)
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
			wantDiff(t, "contents", before, f.contents())
			wantDiff(t, "events", []lapse.Event(nil), f.events)
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
	wantIs(t, "one deeper", err, lapse.ErrNotDelegable)
	if errors.Is(err, lapse.ErrUnauthenticated) || errors.Is(err, lapse.ErrUnavailable) {
		t.Errorf("%v is not what happened", err)
	}
	wantDiff(t, "contents", before, f.contents())
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
		wantIs(t, row.name, err, row.want)
		if got.Bearer != "" || got.Token != (lapse.Token{}) {
			t.Errorf("%s: it failed and yet gave %v", row.name, got)
		}
		wantDiff(t, row.name+": contents", before, f.contents())
	}
	if d := f.delegate(parent, lapse.Grant{Subject: "ana"}); d.Subject != "ana" {
		t.Errorf("its own subject: %v", d)
	}
}
