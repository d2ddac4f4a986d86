package lapse_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
)

// keyOf returns a key of Obtain that is always the same for n.
func keyOf(n byte) []byte { return bytes.Repeat([]byte{n, 0x5a}, 16) }

func keyed(p lapse.Policy, keys ...byte) lapse.Config {
	cfg := lapse.Config{Policy: p}
	for _, n := range keys {
		cfg.Keys = append(cfg.Keys, lapse.NewKey(keyOf(n)))
	}
	return cfg
}

func obtain(t *testing.T, f *fixture, m *lapse.Manager, g lapse.Grant) lapse.Issued {
	t.Helper()
	i, err := m.Obtain(f.ctx, g)
	if err != nil {
		t.Fatalf("Obtain: %v", err)
	}
	if tok, err := m.Peek(f.ctx, i.Bearer); err != nil || tok != i.Token {
		t.Fatalf("Peek of what was obtained: %+v, %v; want %+v", tok, err, i.Token)
	}
	return i
}

// kinds returns what happened since the last call.
func (f *fixture) kinds() (kinds []lapse.EventKind) {
	for _, e := range f.events {
		kinds = append(kinds, e.Kind)
	}
	f.events = nil
	return kinds
}

func TestObtain(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{RenewEvery: time.Hour}, 1))
	first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Name: "laptop", Data: "first", TTL: 10 * time.Minute})
	wantDiff(t, "issued", lapse.Token{
		ID: first.ID, Prefix: "lapse", Subject: "ana", Name: "laptop", Data: "first",
		IssuedAt: startMilli, ExpiresAt: startMilli.Add(10 * time.Minute), MaxExpiresAt: startMilli.Add(30 * 24 * time.Hour),
	}, first.Token)
	if first.Existing {
		t.Error("a new token counts as found")
	}
	wantDiff(t, "events", []lapse.EventKind{lapse.EventIssued}, f.kinds())

	f.clock.add(time.Minute)
	second := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Name: "laptop", Data: "first", TTL: time.Hour})
	want := first.Token // its TTL is its own, and Reduced says so
	want.LastUsedAt, want.ExpiresAt = startMilli.Add(time.Minute), startMilli.Add(11*time.Minute)
	wantDiff(t, "found", lapse.Issued{Token: want, Bearer: first.Bearer, Existing: true, Reduced: []string{"TTL"}}, second)
	wantDiff(t, "events", []lapse.Event{{Kind: lapse.EventRenewed, At: startMilli.Add(time.Minute), Token: want}}, f.events)
	wantDiff(t, "stored", want, f.token(first.ID))
}

// TestObtainFindsOnlyItsOwn: every grant that differs, and every token that was made in
// another way, is another token.
func TestObtainFindsOnlyItsOwn(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	g := lapse.Grant{Subject: "ana", Name: "n", Scope: "read write"}
	plain := f.issue(g)
	delegate, err := f.Delegate(f.ctx, plain.Bearer, g)
	if err != nil {
		t.Fatal(err)
	}
	rotated, err := f.Rotate(f.ctx, f.issue(g).Bearer, time.Minute)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[lapse.ID]string{plain.ID: "plain", delegate.ID: "delegate", rotated.ID: "rotated"}
	other := f.manager(lapse.Config{Prefix: "other", Keys: []lapse.Key{lapse.NewKey(keyOf(1))}})
	for _, row := range []struct {
		name string
		m    *lapse.Manager
		g    lapse.Grant
	}{
		{"the grant", f.Manager, g},
		{"another subject", f.Manager, lapse.Grant{Subject: "bob", Name: "n", Scope: "read write"}},
		{"another name", f.Manager, lapse.Grant{Subject: "ana", Name: "N", Scope: "read write"}},
		{"no name", f.Manager, lapse.Grant{Subject: "ana", Scope: "read write"}},
		{"more scope", f.Manager, lapse.Grant{Subject: "ana", Name: "n", Scope: "read write admin"}},
		{"no scope", f.Manager, lapse.Grant{Subject: "ana", Name: "n"}},
		{"data", f.Manager, lapse.Grant{Subject: "ana", Name: "n", Scope: "read write", Data: "a"}},
		{"other data", f.Manager, lapse.Grant{Subject: "ana", Name: "n", Scope: "read write", Data: "b"}},
		{"less scope", f.Manager, lapse.Grant{Subject: "ana", Name: "n", Scope: "read"}},
		{"a budget", f.Manager, lapse.Grant{Subject: "ana", Name: "n", Scope: "read write", MaxUses: 3}},
		{"another budget", f.Manager, lapse.Grant{Subject: "ana", Name: "n", Scope: "read write", MaxUses: 2}},
		{"another prefix", other, g},
	} {
		got := obtain(t, f, row.m, row.g)
		if was, known := seen[got.ID]; known || got.Existing {
			t.Errorf("%s: got that of %q", row.name, was)
		}
		seen[got.ID] = row.name
		if again := obtain(t, f, row.m, row.g); !again.Existing || again.Bearer != got.Bearer {
			t.Errorf("%s: once more, Existing is %v", row.name, again.Existing)
		}
	}
	for id, name := range seen {
		if !f.token(id).Live(f.clock.Now()) {
			t.Errorf("%s: it was ended for another one", name)
		}
	}
}

// TestObtainEdges: it is given again to the last instant of its life, with another secret and
// a new life where less than a tenth of that would be left.
func TestObtainEdges(t *testing.T) {
	for _, row := range []struct {
		name   string
		policy lapse.Policy
		after  time.Duration
		reused bool
		until  time.Duration // from start
	}{
		{"TTL, before", lapse.Policy{TTL: time.Hour}, time.Hour - time.Millisecond, true, 2*time.Hour - time.Millisecond},
		{"TTL, at", lapse.Policy{TTL: time.Hour}, time.Hour, false, 2 * time.Hour},
		{"TTL, after", lapse.Policy{TTL: time.Hour}, time.Hour + time.Millisecond, false, 2*time.Hour + time.Millisecond},
		{"cap, before", lapse.Policy{TTL: time.Hour, MaxTTL: time.Hour}, 54 * time.Minute, true, time.Hour},
		{"cap, just before", lapse.Policy{TTL: time.Hour, MaxTTL: time.Hour}, time.Hour - time.Millisecond, true, 2*time.Hour - time.Millisecond},
		{"cap, at", lapse.Policy{TTL: time.Hour, MaxTTL: time.Hour}, time.Hour, false, 2 * time.Hour},
		{"RenewOnRequest, before", lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewOnRequest}, time.Hour - time.Millisecond, true, 2*time.Hour - time.Millisecond},
		{"Never, before", lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewNever}, 54 * time.Minute, true, time.Hour},
		{"Never, just before", lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewNever}, time.Hour - time.Millisecond, true, 2*time.Hour - time.Millisecond},
		{"Never, at", lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewNever}, time.Hour, false, 2 * time.Hour},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, keyed(row.policy, 1))
			first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
			f.clock.add(row.after)
			f.events = nil
			got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
			same := row.reused && !strings.Contains(row.name, "just")
			if got.Existing != row.reused || (got.Bearer == first.Bearer) != same || (got.ID == first.ID) != row.reused {
				t.Errorf("Existing is %v; want %v, and the bearer that goes with it", got.Existing, row.reused)
			}
			if !got.ExpiresAt.Equal(startMilli.Add(row.until)) {
				t.Errorf("it lives until %v; want %v", got.ExpiresAt, startMilli.Add(row.until))
			}
			if row.policy.Renewal == lapse.RenewNever && same && (len(f.events) > 0 || !got.LastUsedAt.IsZero()) {
				t.Errorf("under Never it was touched: %+v, %+v", got.Token, f.events)
			}
			f.Expire(f.ctx, got.ID)
			if obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}).ID == got.ID {
				t.Error("an ended token is given again")
			}
		})
	}
}

// TestObtainNewest: of several, which only managers that disagree about keys can make.
func TestObtainNewest(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	older := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
	f.clock.add(time.Minute)
	newer := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Name: "other"})
	f.change(newer.ID, func(r *storage.Record) { r.Name = "" })
	f.clock.add(time.Minute)
	if got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}); got.ID != newer.ID || !got.Existing {
		t.Errorf("got %v; want %v, which is newer than %v", got.ID, newer.ID, older.ID)
	}
}

// TestObtainPassesOver what it cannot read: it issues, and breaks nothing.
func TestObtainPassesOver(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	text := ""
	for what, sealed := range map[string]func() string{
		"nothing":         func() string { return "" },
		"a byte less":     func() string { return text[:len(text)-1] },
		"a byte more":     func() string { return text + "x" },
		"a later version": func() string { return "o2" + text[2:] },
		"another kind":    func() string { return "p1" + text[2:] },
	} {
		first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Name: what})
		f.change(first.ID, func(r *storage.Record) {
			text = r.Sealed.Text()
			r.Sealed = storage.NewSealed(sealed())
		})
		got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Name: what})
		if got.Existing || got.ID == first.ID || !f.token(first.ID).Live(f.clock.Now()) {
			t.Errorf("%s is sealed: Existing is %v, the one before is %+v", what, got.Existing, f.token(first.ID))
		}
	}
	first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
	m, err := lapse.New(livingDamaged{&damaged{f.store, first.ID}}, lapse.Config{Clock: f.clock, Keys: []lapse.Key{lapse.NewKey(keyOf(1))}})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := m.Obtain(f.ctx, lapse.Grant{Subject: "ana"}); err != nil || got.Existing {
		t.Errorf("over a damaged record: Existing is %v, %v", got.Existing, err)
	}
}

// livingDamaged is damaged for a loop over the living, too.
type livingDamaged struct{ *damaged }

func (d livingDamaged) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return d.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(livingDamagedTx{damagedTx{tx, d.damaged}}) })
}

type livingDamagedTx struct{ damagedTx }

func (tx livingDamagedTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return tx.d.without(tx.Tx.Living(now))
}

func TestObtainRefuses(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	for name, m := range map[string]*lapse.Manager{"nil": f.Manager, "empty": f.manager(lapse.Config{Keys: []lapse.Key{}})} {
		calls := f.calls(func() {
			got, err := m.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
			wantIs(t, name+" keys", err, lapse.ErrNoKeys)
			if got.Bearer != "" || errors.Is(err, lapse.ErrUnauthenticated) {
				t.Errorf("%s keys: %v with a bearer %v", name, err, got.Bearer != "")
			}
		})
		wantDiff(t, name+" keys: calls", noCalls, calls, cmpopts.EquateEmpty())
	}
	_, err := f.manager(keyed(lapse.Policy{}, 1)).Obtain(f.ctx, lapse.Grant{})
	wantIs(t, "no subject", err, lapse.ErrInvalidGrant)
}

// TestObtainAsksNobody: it is a log-in like Issue, which has checked its subject before.
func TestObtainAsksNobody(t *testing.T) {
	refused := lapse.ErrRefused
	f := newFixture(t, lapse.Config{})
	m := f.manager(lapse.Config{Keys: []lapse.Key{lapse.NewKey(keyOf(1))}, Admit: f.checks(&refused)})
	for _, reused := range []bool{false, true} {
		if got, err := m.Obtain(f.ctx, lapse.Grant{Subject: "ana"}); err != nil || got.Existing != reused {
			t.Errorf("Existing is %v, %v; want %v", got.Existing, err, reused)
		}
	}
}

// TestObtainAtTheLimit: giving again needs no room, issuing does.
func TestObtainAtTheLimit(t *testing.T) {
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest} {
		t.Run(fmt.Sprint(atLimit), func(t *testing.T) {
			f := newFixture(t, keyed(lapse.Policy{MaxTokens: 2, AtLimit: atLimit}, 1))
			first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
			f.clock.add(time.Millisecond)
			plain := f.issue(lapse.Grant{Subject: "ana"})
			if got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}); got.ID != first.ID || got.Evicted != nil {
				t.Errorf("at the limit: %+v", got)
			}
			got, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana", Name: "third"})
			if atLimit == lapse.LimitRefuse {
				wantIs(t, "a third", err, lapse.ErrLimit)
				if !f.token(first.ID).Live(f.clock.Now()) || !f.token(plain.ID).Live(f.clock.Now()) {
					t.Error("a refusal ended something")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			wantDiff(t, "evicted", []lapse.ID{first.ID}, got.Evicted)
		})
	}
}

// TestObtainWithABudget: obtaining spends nothing.
func TestObtainWithABudget(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	g := lapse.Grant{Subject: "ana", MaxUses: 2}
	first := obtain(t, f, f.Manager, g)
	if _, err := f.Authenticate(f.ctx, first.Bearer); err != nil {
		t.Fatal(err)
	}
	for range 3 {
		if got := obtain(t, f, f.Manager, g); got.ID != first.ID || got.UsesLeft != 1 || got.MaxUses != 2 {
			t.Fatalf("obtained again: %+v; want one use left", got.Token)
		}
	}
	if _, err := f.Authenticate(f.ctx, first.Bearer); err != nil {
		t.Fatal(err)
	}
	if got := obtain(t, f, f.Manager, g); got.Existing || got.UsesLeft != 2 {
		t.Errorf("after the last use: %+v; want a new one", got)
	}
}
