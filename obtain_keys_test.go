package lapse_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestKeysAreInvalid: New names the place, and nothing of the key.
func TestKeysAreInvalid(t *testing.T) {
	good := keyOf(1)
	for name, row := range map[string]struct {
		keys [][]byte
		want string // "" if they are good
	}{
		"none":              {nil, ""},
		"one":               {[][]byte{good}, ""},
		"three":             {[][]byte{good, keyOf(2), keyOf(3)}, ""},
		"nil":               {[][]byte{nil}, "lapse: invalid config: Keys[0]: 0 bytes; want 32 random ones"},
		"empty":             {[][]byte{{}}, "lapse: invalid config: Keys[0]: 0 bytes; want 32 random ones"},
		"31 bytes":          {[][]byte{good, keyOf(2)[:31]}, "lapse: invalid config: Keys[1]: 31 bytes; want 32 random ones"},
		"33 bytes":          {[][]byte{append(keyOf(2), 1)}, "lapse: invalid config: Keys[0]: 33 bytes; want 32 random ones"},
		"all zero":          {[][]byte{good, make([]byte, 32)}, "lapse: invalid config: Keys[1]: all zero; want 32 random bytes"},
		"zero but one byte": {[][]byte{append(make([]byte, 31), 1)}, ""},
		"twice":             {[][]byte{keyOf(2), good, keyOf(3), keyOf(1)}, "lapse: invalid config: Keys[3]: the same as Keys[1]; leave one of them out"},
	} {
		var keys []lapse.Key
		for _, key := range row.keys {
			keys = append(keys, lapse.NewKey(key))
		}
		_, err := lapse.New(storagetest.NewFaulty(nil), lapse.Config{Keys: keys})
		if row.want == "" {
			wantIs(t, name, err, nil)
			continue
		}
		wantIs(t, name, err, lapse.ErrInvalidConfig)
		if err != nil && err.Error() != row.want {
			t.Errorf("%s: %q; want %q", name, err, row.want)
		}
	}
}

// TestFault2_ZeroKeyIsNone, and is refused as one of no bytes.
func TestFault2_ZeroKeyIsNone(t *testing.T) {
	_, err := lapse.New(storagetest.NewFaulty(nil), lapse.Config{Keys: []lapse.Key{lapse.NewKey(keyOf(1)), {}}})
	wantIs(t, "the zero Key", err, lapse.ErrInvalidConfig)
	if err == nil || !strings.Contains(err.Error(), "Keys[1]: 0 bytes") {
		t.Error(err)
	}
}

// TestKeysAreCopied: what becomes of the caller's bytes is no matter.
func TestKeysAreCopied(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	key := keyOf(1)
	cfg := lapse.Config{Keys: []lapse.Key{lapse.NewKey(key)}}
	clear(key)
	m := f.manager(cfg)
	first := obtain(t, f, f.manager(keyed(lapse.Policy{}, 1)), lapse.Grant{Subject: "ana"})
	cfg.Keys[0] = lapse.NewKey(keyOf(2))
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
			f := newFixture(t, keyed(lapse.Policy{}, 1))
			g := lapse.Grant{Subject: "ana", Name: "laptop"}
			first := obtain(t, f, f.Manager, g)
			helper, err := f.Delegate(f.ctx, first.Bearer, lapse.Grant{})
			if err != nil {
				t.Fatal(err)
			}
			f.clock.add(time.Minute)
			m := f.manager(keyed(lapse.Policy{}, row.keys...))
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
				wantDiff(t, "events", []lapse.EventKind{lapse.EventRenewed}, f.kinds())
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
	wantDiff(t, "events", []lapse.EventKind{lapse.EventEnded, lapse.EventRotated}, f.kinds())
	_, err := f.Authenticate(f.ctx, old.Bearer)
	wantIs(t, "Authenticate with the old text", err, lapse.ErrReplaced)
}

// TestRetiredKeyInPlace: the token keeps its place, also where a lowered limit has no room
// for a new one, and has the uses that were left.
func TestRetiredKeyInPlace(t *testing.T) {
	f := newFixture(t, keyed(lapse.Policy{}, 1))
	g := lapse.Grant{Subject: "ana", MaxUses: 5}
	first := obtain(t, f, f.Manager, g)
	if _, err := f.Authenticate(f.ctx, first.Bearer); err != nil {
		t.Fatal(err)
	}
	plain := []lapse.Issued{f.issue(lapse.Grant{Subject: "ana"}), f.issue(lapse.Grant{Subject: "ana"})}
	for i, policy := range []lapse.Policy{
		{MaxTokens: 3}, {MaxTokens: 1}, {MaxTokens: 1, AtLimit: lapse.LimitEndOldest},
	} {
		m := f.manager(keyed(policy, byte(10+i)))
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
		onStores(t, func(t *testing.T, store *storagetest.Faulty) {
			ctx, clock, g := context.Background(), newClock(), lapse.Grant{Subject: "ana"}
			manager := func(keys ...byte) *lapse.Manager {
				cfg := keyed(lapse.Policy{}, keys...)
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
			arrivals(store, callers, storagetest.OpUpdate)
			errs := together(callers, func(i int) (err error) {
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
			all, err := collect(m.Tokens(ctx, "ana"))
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
		f := newFixture(t, keyed(lapse.Policy{}, 1))
		m, err := lapse.New(&collider{Store: f.store, left: taken}, lapse.Config{Clock: f.clock, Keys: []lapse.Key{lapse.NewKey(keyOf(1))}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := m.Obtain(f.ctx, lapse.Grant{Subject: "ana"})
		wantIs(t, "collisions", err, want)
		if want == nil && obtain(t, f, f.Manager, lapse.Grant{Subject: "ana"}).Bearer != got.Bearer {
			t.Errorf("%d collisions: it is not given again", taken)
		}
	}
}
