package lapse_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/internal/lapsetest"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

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
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{RenewEvery: time.Hour}, 1))
	first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Name: "laptop", Data: "first", TTL: 10 * time.Minute})
	lapsetest.WantDiff(t, "issued", lapse.Token{
		ID: first.ID, Prefix: "lapse", Subject: "ana", Name: "laptop", Data: "first",
		IssuedAt: lapsetest.StartMilli, ExpiresAt: lapsetest.StartMilli.Add(10 * time.Minute), MaxExpiresAt: lapsetest.StartMilli.Add(30 * 24 * time.Hour),
		AuthenticatedAt: lapsetest.StartMilli,
	}, first.Token)
	if first.Existing {
		t.Error("a new token counts as found")
	}
	lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventIssued}, f.kinds())

	f.clock.Add(time.Minute)
	second := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Name: "laptop", Data: "first", TTL: time.Hour})
	want := first.Token // its TTL is its own, and Reduced says so
	want.LastUsedAt, want.ExpiresAt = lapsetest.StartMilli.Add(time.Minute), lapsetest.StartMilli.Add(11*time.Minute)
	lapsetest.WantDiff(t, "found", lapse.Issued{Token: want, Bearer: first.Bearer, Existing: true, Reduced: []string{"TTL"}}, second)
	lapsetest.WantDiff(t, "events", []lapse.Event{{Kind: lapse.EventRenewed, At: lapsetest.StartMilli.Add(time.Minute), Token: want}}, f.events)
	lapsetest.WantDiff(t, "stored", want, f.token(first.ID))
}

// TestObtainFindsOnlyItsOwn: every grant that differs, and every token that was made in
// another way, is another token.
func TestObtainFindsOnlyItsOwn(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
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
	other := f.manager(lapse.Config{Prefix: "other", Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1))}})
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
			f := newFixture(t, lapsetest.Keyed(row.policy, 1))
			first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
			f.clock.Add(row.after)
			f.events = nil
			got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
			same := row.reused && !strings.Contains(row.name, "just")
			if got.Existing != row.reused || (got.Bearer == first.Bearer) != same || (got.ID == first.ID) != row.reused {
				t.Errorf("Existing is %v; want %v, and the bearer that goes with it", got.Existing, row.reused)
			}
			if !got.ExpiresAt.Equal(lapsetest.StartMilli.Add(row.until)) {
				t.Errorf("it lives until %v; want %v", got.ExpiresAt, lapsetest.StartMilli.Add(row.until))
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
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
	older := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
	f.clock.Add(time.Minute)
	newer := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Name: "other"})
	f.change(newer.ID, func(r *storage.Record) { r.Name = "" })
	f.clock.Add(time.Minute)
	if got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}); got.ID != newer.ID || !got.Existing {
		t.Errorf("got %v; want %v, which is newer than %v", got.ID, newer.ID, older.ID)
	}
}

// TestObtainPassesOver what it cannot read: it issues, and breaks nothing.
func TestObtainPassesOver(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
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
	m, err := lapse.New(livingDamaged{&damaged{f.store, first.ID}}, lapse.Config{Clock: f.clock, Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1))}})
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
			lapsetest.WantIs(t, name+" keys", err, lapse.ErrNoKeys)
			if got.Bearer != "" || errors.Is(err, lapse.ErrUnauthenticated) {
				t.Errorf("%s keys: %v with a bearer %v", name, err, got.Bearer != "")
			}
		})
		lapsetest.WantDiff(t, name+" keys: calls", noCalls, calls, cmpopts.EquateEmpty())
	}
	_, err := f.manager(lapsetest.Keyed(lapse.Policy{}, 1)).Obtain(f.ctx, lapse.Grant{})
	lapsetest.WantIs(t, "no subject", err, lapse.ErrInvalidGrant)
}

// TestObtainAsksNobody: it is a log-in like Issue, which has checked its subject before.
func TestObtainAsksNobody(t *testing.T) {
	refused := lapse.ErrRefused
	f := newFixture(t, lapse.Config{})
	m := f.manager(lapse.Config{Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1))}, Admit: f.checks(&refused)})
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
			f := newFixture(t, lapsetest.Keyed(lapse.Policy{MaxTokens: 2, AtLimit: atLimit}, 1))
			first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
			f.clock.Add(time.Millisecond)
			plain := f.issue(lapse.Grant{Subject: "ana"})
			if got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}); got.ID != first.ID || got.Evicted != nil {
				t.Errorf("at the limit: %+v", got)
			}
			got, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana", Name: "third"})
			if atLimit == lapse.LimitRefuse {
				lapsetest.WantIs(t, "a third", err, lapse.ErrLimit)
				if !f.token(first.ID).Live(f.clock.Now()) || !f.token(plain.ID).Live(f.clock.Now()) {
					t.Error("a refusal ended something")
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			lapsetest.WantDiff(t, "evicted", []lapse.ID{first.ID}, got.Evicted)
		})
	}
}

// TestObtainWithABudget: obtaining spends nothing.
func TestObtainWithABudget(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
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

// TestKeysAreInvalid: New names the place, and nothing of the key.
func TestKeysAreInvalid(t *testing.T) {
	good := lapsetest.KeyOf(1)
	for name, row := range map[string]struct {
		keys [][]byte
		want string // "" if they are good
	}{
		"none":              {nil, ""},
		"one":               {[][]byte{good}, ""},
		"three":             {[][]byte{good, lapsetest.KeyOf(2), lapsetest.KeyOf(3)}, ""},
		"nil":               {[][]byte{nil}, "lapse: invalid config: Keys[0]: 0 bytes; want 32 random ones"},
		"empty":             {[][]byte{{}}, "lapse: invalid config: Keys[0]: 0 bytes; want 32 random ones"},
		"31 bytes":          {[][]byte{good, lapsetest.KeyOf(2)[:31]}, "lapse: invalid config: Keys[1]: 31 bytes; want 32 random ones"},
		"33 bytes":          {[][]byte{append(lapsetest.KeyOf(2), 1)}, "lapse: invalid config: Keys[0]: 33 bytes; want 32 random ones"},
		"all zero":          {[][]byte{good, make([]byte, 32)}, "lapse: invalid config: Keys[1]: all zero; want 32 random bytes"},
		"zero but one byte": {[][]byte{append(make([]byte, 31), 1)}, ""},
		"twice":             {[][]byte{lapsetest.KeyOf(2), good, lapsetest.KeyOf(3), lapsetest.KeyOf(1)}, "lapse: invalid config: Keys[3]: the same as Keys[1]; leave one of them out"},
	} {
		var keys []lapse.Key
		for _, key := range row.keys {
			keys = append(keys, lapse.NewKey(key))
		}
		_, err := lapse.New(storagetest.NewFaulty(nil), lapse.Config{Keys: keys})
		if row.want == "" {
			lapsetest.WantIs(t, name, err, nil)
			continue
		}
		lapsetest.WantIs(t, name, err, lapse.ErrInvalidConfig)
		if err != nil && err.Error() != row.want {
			t.Errorf("%s: %q; want %q", name, err, row.want)
		}
	}
}

// TestFault2_ZeroKeyIsNone, and is refused as one of no bytes.
func TestFault2_ZeroKeyIsNone(t *testing.T) {
	_, err := lapse.New(storagetest.NewFaulty(nil), lapse.Config{Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1)), {}}})
	lapsetest.WantIs(t, "the zero Key", err, lapse.ErrInvalidConfig)
	if err == nil || !strings.Contains(err.Error(), "Keys[1]: 0 bytes") {
		t.Error(err)
	}
}

// TestKeysAreCopied: what becomes of the caller's bytes is no matter.
func TestKeysAreCopied(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	key := lapsetest.KeyOf(1)
	cfg := lapse.Config{Keys: []lapse.Key{lapse.NewKey(key)}}
	clear(key)
	m := f.manager(cfg)
	first := obtain(t, f, f.manager(lapsetest.Keyed(lapse.Policy{}, 1)), lapse.Grant{Subject: "ana"})
	cfg.Keys[0] = lapse.NewKey(lapsetest.KeyOf(2))
	if got := obtain(t, f, m, lapse.Grant{Subject: "ana"}); got.Bearer != first.Bearer {
		t.Error("the Manager's key changed with its caller's")
	}
}

// TestKeyRotation: a token is given again as long as its key is among the keys, wherever
// it stands. With the key gone it authenticates until Obtain replaces it.
func TestKeyRotation(t *testing.T) {
	for _, row := range []struct {
		name string
		keys []byte
		same bool
	}{
		{"the first", []byte{1}, true},
		{"a later one", []byte{2, 3, 1}, true},
		{"gone", []byte{2, 3}, false},
	} {
		t.Run(row.name, func(t *testing.T) {
			f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
			g := lapse.Grant{Subject: "ana", Name: "laptop"}
			first := obtain(t, f, f.Manager, g)
			helper, err := f.Delegate(f.ctx, first.Bearer, lapse.Grant{})
			if err != nil {
				t.Fatal(err)
			}
			f.clock.Add(time.Minute)
			m := f.manager(lapsetest.Keyed(lapse.Policy{}, row.keys...))
			for name, m := range map[string]*lapse.Manager{"these": m, "none": f.manager(lapse.Config{})} {
				if _, err := m.Authenticate(f.ctx, first.Bearer); err != nil {
					t.Errorf("Authenticate with keys %s: %v", name, err)
				}
			}
			f.events = nil
			got := obtain(t, f, m, g)
			if !got.Existing || got.ID != first.ID || (got.Bearer == first.Bearer) != row.same {
				t.Fatalf("%+v, the same text: %v; want %v", got.Token, got.Bearer == first.Bearer, row.same)
			}
			if row.same {
				lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventRenewed}, f.kinds())
				return
			}
			f.wantReplaced(t, first, got, helper)
			if again := obtain(t, f, m, g); again.Bearer != got.Bearer {
				t.Error("what replaced it is not given again")
			}
		})
	}
}

// wantReplaced: the secret of old was replaced by that of got at this instant, as by
// Rotate with an overlap of 0, and its delegate ended.
func (f *fixture) wantReplaced(t *testing.T, old, got, delegate lapse.Issued) {
	t.Helper()
	now := f.clock.Now().UTC().Truncate(time.Millisecond)
	want := f.token(old.ID)
	if want != got.Token || got.Generation != 1 || !got.RotatedAt.Equal(now) || !got.ExpiresAt.Equal(now.Add(30*time.Minute)) {
		t.Errorf("%+v; want another secret and a new life", got.Token)
	}
	if tok := f.token(delegate.ID); tok.EndReason != lapse.EndRotated {
		t.Errorf("the delegate: %+v; want it ended by the rotation", tok)
	}
	lapsetest.WantDiff(t, "events", []lapse.EventKind{lapse.EventEnded, lapse.EventRotated}, f.kinds())
	_, err := f.Authenticate(f.ctx, old.Bearer)
	lapsetest.WantIs(t, "Authenticate with the old text", err, lapse.ErrReplaced)
}

// TestRetiredKeyInPlace: the token keeps its place, also where a lowered limit has no room
// for a new one, and has the uses that were left.
func TestRetiredKeyInPlace(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
	g := lapse.Grant{Subject: "ana", MaxUses: 5}
	first := obtain(t, f, f.Manager, g)
	if _, err := f.Authenticate(f.ctx, first.Bearer); err != nil {
		t.Fatal(err)
	}
	plain := []lapse.Issued{f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"})}
	for i, policy := range []lapse.Policy{
		{MaxTokens: 3}, {MaxTokens: 1}, {MaxTokens: 1, AtLimit: lapse.LimitEndOldest},
	} {
		m := f.manager(lapsetest.Keyed(policy, byte(10+i)))
		got, err := m.Obtain(f.ctx, g)
		if err != nil {
			t.Fatalf("%+v: %v", policy, err)
		}
		if !got.Existing || got.ID != first.ID || got.Generation != uint32(i+1) || got.Evicted != nil || got.MaxUses != 5 || got.UsesLeft != 4 {
			t.Errorf("%+v: %+v; want the same token, 4 of 5 uses and nothing evicted", policy, got)
		}
		for _, i := range plain {
			if !f.token(i.ID).Live(f.clock.Now()) {
				t.Errorf("%+v: another token ended", policy)
			}
		}
	}
}

// TestObtainUnder64Callers: they get one token, whether there was none, or one whose
// key is retired.
func TestObtainUnder64Callers(t *testing.T) {
	const callers = 64
	for _, retired := range []bool{false, true} {
		lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
			ctx, clock, g := context.Background(), lapsetest.NewClock(), lapse.Grant{Subject: "ana"}
			manager := func(keys ...byte) *lapse.Manager {
				cfg := lapsetest.Keyed(lapse.Policy{}, keys...)
				cfg.Clock = clock
				m, err := lapse.New(store, cfg)
				if err != nil {
					t.Fatal(err)
				}
				return m
			}
			if retired {
				if _, err := manager(2).Obtain(ctx, g); err != nil {
					t.Fatal(err)
				}
			}
			m := manager(1)
			got := make([]lapse.Issued, callers)
			lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
			errs := lapsetest.Together(callers, func(i int) (err error) {
				got[i], err = m.Obtain(ctx, g)
				return err
			})
			store.Before(nil)
			issued := 0
			for i, err := range errs {
				if err != nil || got[i].Bearer != got[0].Bearer || got[i].ID != got[0].ID {
					t.Fatalf("caller %d: %v, %v; want %v", i, err, got[i].ID, got[0].ID)
				}
				if !got[i].Existing {
					issued++
				}
			}
			all, err := lapsetest.Collect(m.List(ctx, lapse.Query{Subject: "ana"}))
			if (issued == 0) != retired || issued > 1 || len(all) != 1 || err != nil || (all[0].Generation == 1) != retired {
				t.Errorf("%d issued, %+v, %v; want one token, its secret replaced once: %v", issued, all, err, retired)
			}
			if _, err := m.Authenticate(ctx, got[0].Bearer); err != nil {
				t.Errorf("Authenticate: %v", err)
			}
		})
	}
}

// TestObtainIDCollision: the secret is derived anew for each ID that is drawn.
func TestObtainIDCollision(t *testing.T) {
	for taken, want := range map[int]error{1: nil, 2: nil, 3: lapse.ErrConflict} {
		f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
		m, err := lapse.New(&collider{Store: f.store, left: taken}, lapse.Config{Clock: f.clock, Keys: []lapse.Key{lapse.NewKey(lapsetest.KeyOf(1))}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
		lapsetest.WantIs(t, "collisions", err, want)
		if want == nil && obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}).Bearer != got.Bearer {
			t.Errorf("%d collisions: it is not given again", taken)
		}
	}
}

// TestFault13_ScopesAreSets: neither the order of words nor a repetition makes another token.
func TestFault13_ScopesAreSets(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
	first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Scope: "read write"})
	for scope, same := range map[string]bool{
		"write read": true, "read write read": true, "write write read": true,
		"read": false, "": false, "read write admin": false, "read writ": false, "Read write": false,
	} {
		got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Scope: scope})
		if same != (got.ID == first.ID) || same != got.Existing || same && got.Scope != "read write" || !same && got.Scope != scope {
			t.Errorf("%q: %q, the same: %v; want %v", scope, got.Scope, got.ID == first.ID, same)
		}
	}
}

// TestFault13_ObtainGivesNoMoreThanWasAskedFor: other Data is another token, and another TTL is
// told.
func TestFault13_ObtainGivesNoMoreThanWasAskedFor(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
	first := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Data: `{"org":"a","mfa":true}`, TTL: 720 * time.Hour})
	other := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Data: `{"org":"b","mfa":false}`, TTL: time.Hour})
	if other.ID == first.ID || other.Data != `{"org":"b","mfa":false}` || !other.ExpiresAt.Equal(lapsetest.StartMilli.Add(time.Hour)) || other.Reduced != nil {
		t.Errorf("another Data: %+v", other)
	}
	for ttl, want := range map[time.Duration]string{720 * time.Hour: "", time.Hour: "TTL", 719 * time.Hour: "TTL", 0: "TTL"} {
		got := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", Data: first.Data, TTL: ttl})
		if got.ID != first.ID || !got.Existing || strings.Join(got.Reduced, " ") != want {
			t.Errorf("TTL %v: %v, Reduced is %q; want %q", ttl, got.ID, got.Reduced, want)
		}
	}
	g := lapse.Grant{Subject: "ana", Name: "spread", TTL: time.Hour, Jitter: 0.5}
	for range 20 { // a TTL that Jitter drew is what was asked for
		if got := obtain(t, f, f.Manager, g); got.Reduced != nil {
			t.Errorf("Jitter: Reduced is %q", got.Reduced)
		}
	}
}

// TestFault13_ObtainGivesNoTokenThatIsAboutToDie: with less than MinLeft left the secret is
// replaced in place, for a new life of the TTL asked for. The old text works until the expiry
// that it had.
func TestFault13_ObtainGivesNoTokenThatIsAboutToDie(t *testing.T) {
	never := lapse.Policy{TTL: 2 * time.Hour, Renewal: lapse.RenewNever, MaxTokens: 1}
	atCap := lapse.Policy{TTL: 2 * time.Hour, MaxTTL: 2 * time.Hour, MaxTokens: 1, AtLimit: lapse.LimitRefuse}
	for _, row := range []struct {
		minLeft, left time.Duration
		again         bool
	}{
		{0, 12 * time.Minute, true}, {0, 12*time.Minute - time.Millisecond, false}, {0, time.Millisecond, false},
		{time.Hour, time.Hour, true}, {time.Hour, time.Hour - time.Millisecond, false},
		{30 * time.Minute, 30 * time.Minute, true}, {30 * time.Minute, 30*time.Minute - time.Millisecond, false},
		{time.Millisecond, time.Millisecond, true},
	} {
		for name, policy := range map[string]lapse.Policy{"never": never, "at the cap": atCap} {
			what := fmt.Sprintf("%s, MinLeft %v, %v left", name, row.minLeft, row.left)
			f := newFixture(t, lapsetest.Keyed(policy, 1))
			g := lapse.Grant{Subject: "ana", MinLeft: row.minLeft}
			first := obtain(t, f, f.Manager, g)
			f.clock.Add(2*time.Hour - row.left)
			f.events = nil
			got := obtain(t, f, f.Manager, g)
			end := first.ExpiresAt
			if !row.again {
				end = f.clock.Now().UTC().Truncate(time.Millisecond).Add(2 * time.Hour)
				lapsetest.WantDiff(t, what+": events", []lapse.EventKind{lapse.EventRotated}, f.kinds())
			}
			if got.ID != first.ID || !got.Existing || (got.Bearer == first.Bearer) != row.again || !got.ExpiresAt.Equal(end) {
				t.Errorf("%s: %+v", what, got)
			}
			f.clock.Add(row.left - time.Millisecond)
			_, err := f.Authenticate(f.ctx, first.Bearer)
			lapsetest.WantIs(t, what+": the old text before its end", err, nil)
			f.clock.Add(time.Millisecond)
			_, err = f.Authenticate(f.ctx, first.Bearer)
			want := lapse.ErrReplaced
			if row.again {
				want = lapse.ErrExpired
			}
			lapsetest.WantIs(t, what+": the old text at its end", err, want)
		}
	}
}

// TestFault13_EachLifeHasAnOverlap: a text that Obtain gave, and that was not used yet, is the
// previous one of the next life as any other.
func TestFault13_EachLifeHasAnOverlap(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewNever}, 1))
	last := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
	for _, life := range []time.Duration{time.Hour, 30 * time.Minute, 30 * time.Minute} {
		f.clock.Add(life - time.Millisecond)
		next := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", TTL: 30 * time.Minute})
		if again := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", TTL: 30 * time.Minute}); again.Bearer != next.Bearer || again.Reduced != nil {
			t.Errorf("given again: another text, or Reduced is %q", again.Reduced)
		}
		if _, err := f.Peek(f.ctx, last.Bearer); err != nil {
			t.Errorf("the text before: %v", err)
		}
		last = next
	}
}

// TestFault13_MinLeft is refused by name, by verbs that give nothing again, too.
func TestFault13_MinLeft(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{}, 1))
	p := memoryPairs(t, lapse.PairConfig{})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	minute := lapse.Grant{Subject: "ana", MinLeft: time.Minute}
	for name, do := range map[string]func() error{
		"Issue":       func() error { _, err := f.Issue(f.ctx, minute); return err },
		"Delegate":    func() error { _, err := f.Delegate(f.ctx, parent.Bearer, minute); return err },
		"Pairs.Issue": func() error { _, err := p.Pairs.Issue(p.ctx, minute); return err },
		"negative":    func() error { _, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana", MinLeft: -1}); return err },
		"too short":   func() error { _, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana", MinLeft: 1}); return err },
		"over half the TTL": func() error { // or the second replacement would end a text that the first left alive
			_, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana", TTL: time.Minute, MinLeft: 30*time.Second + time.Millisecond})
			return err
		},
		"over half of what Jitter leaves": func() error {
			_, err := f.Obtain(f.ctx, lapse.Grant{Subject: "ana", TTL: time.Minute, Jitter: 0.5, MinLeft: 15*time.Second + time.Millisecond})
			return err
		},
	} {
		if err := do(); !errors.Is(err, lapse.ErrInvalidGrant) || !strings.Contains(err.Error(), "MinLeft") {
			t.Errorf("%s: %v; want ErrInvalidGrant that names MinLeft", name, err)
		}
	}
	obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", TTL: time.Minute, Jitter: 0.5, MinLeft: 15 * time.Second})
}

// TestFault13_EachTextLivesItsLife: with the largest MinLeft, too, each text that Obtain has
// given works until the expiry that it had then.
func TestFault13_EachTextLivesItsLife(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{TTL: 10 * time.Minute, Renewal: lapse.RenewNever}, 1))
	texts := map[string]time.Time{}
	for range 40 {
		i := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana", MinLeft: 5 * time.Minute})
		if _, known := texts[i.Bearer]; !known {
			texts[i.Bearer] = i.ExpiresAt
		}
		for bearer, until := range texts {
			if _, err := f.Peek(f.ctx, bearer); (err == nil) != f.clock.Now().Before(until) {
				t.Errorf("a text that was to work until %v, at %v: %v", until, f.clock.Now(), err)
			}
		}
		f.clock.Add(time.Minute)
	}
	if len(texts) < 4 {
		t.Errorf("%d texts in 40 minutes", len(texts))
	}
}

// TestFault13_RetiredKeyTellsTheTTL: a token whose key is retired keeps the life that it had, if
// that is longer than what was asked for, and Reduced says so.
func TestFault13_RetiredKeyTellsTheTTL(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{TTL: 24 * time.Hour}, 1))
	obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
	next := f.manager(lapsetest.Keyed(lapse.Policy{TTL: 24 * time.Hour}, 2))
	for _, row := range []struct {
		ttl  time.Duration
		want []string
	}{{10 * time.Minute, []string{"TTL"}}, {0, nil}} {
		i := obtain(t, f, next, lapse.Grant{Subject: "ana", TTL: row.ttl})
		if !slices.Equal(i.Reduced, row.want) {
			t.Errorf("asked for %v: lives until %v, Reduced %v; want %v", row.ttl, i.ExpiresAt, i.Reduced, row.want)
		}
		next = f.manager(lapsetest.Keyed(lapse.Policy{TTL: 24 * time.Hour}, 3))
	}
}

// TestFault13_AboutToDieUnder64Callers: all that log in at once get the same new text, and
// none is ErrLimit.
func TestFault13_AboutToDieUnder64Callers(t *testing.T) {
	const callers = 64
	lapsetest.OnStores(t, func(t *testing.T, store *storagetest.Faulty) {
		clock, cfg := lapsetest.NewClock(), lapsetest.Keyed(lapse.Policy{TTL: time.Hour, Renewal: lapse.RenewNever, MaxTokens: 1}, 1)
		cfg.Clock = clock
		m, err := lapse.New(store, cfg)
		lapsetest.WantIs(t, "New", err, nil)
		first, err := m.Obtain(t.Context(), lapse.Grant{Subject: "ana"})
		lapsetest.WantIs(t, "Obtain", err, nil)
		clock.Add(time.Hour - time.Millisecond)
		got := make([]string, callers)
		lapsetest.Arrivals(store, callers, storagetest.OpUpdate)
		errs := lapsetest.Together(callers, func(i int) error {
			o, err := m.Obtain(t.Context(), lapse.Grant{Subject: "ana"})
			got[i] = o.Bearer
			return err
		})
		store.Before(nil)
		lapsetest.WantIs(t, "Obtain", errors.Join(errs...), nil)
		if slices.Sort(got); got[0] != got[callers-1] || got[0] == first.Bearer {
			t.Error("they did not get the same new text")
		}
	})
}

// TestFault13_AnOverlapLocksNoUserOut: after a rotation with an overlap, a log-out leaves room for
// a log-in.
func TestFault13_AnOverlapLocksNoUserOut(t *testing.T) {
	f := newFixture(t, lapsetest.Keyed(lapse.Policy{TTL: 48 * time.Hour, MaxTokens: 1}, 1))
	a := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"})
	b, err := f.Rotate(f.ctx, a.Bearer, 24*time.Hour)
	lapsetest.WantIs(t, "Rotate", err, nil)
	if again := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}); again.Bearer != b.Bearer {
		t.Error("Obtain does not give the new text")
	}
	if _, err := f.ExpireBearer(f.ctx, b.Bearer); err != nil {
		t.Fatal(err)
	}
	if again := obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}); again.ID == a.ID {
		t.Error("what was logged out is given again")
	}
}
