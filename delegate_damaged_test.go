package lapse_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

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
			wantIs(t, name, err, lapse.ErrCorrupt)
			if errors.Is(err, lapse.ErrUnauthenticated) {
				t.Errorf("%s: %v reads as a bad token", name, err)
			}
		}
		_, err := m.Delegate(f.ctx, i.Bearer, lapse.Grant{})
		wantIs(t, "Delegate", err, lapse.ErrCorrupt)
		_, err = m.Token(f.ctx, i.ID)
		wantIs(t, "Token", err, lapse.ErrCorrupt)
	}
	for range 3 {
		f.issue(lapse.Grant{Subject: "ana"}) // there is room for three
	}
	listed := 0
	for tok, err := range m.Tokens(f.ctx, "ana") {
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
	wantIs(t, "once the damage is mended", err, lapse.ErrRevoked)
}

// TestRanOutUnderDamage: what has run out by itself is dead, and whoever ends it is told
// so, whatever cannot be read above it.
func TestRanOutUnderDamage(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana"})
	d := f.delegate(parent, lapse.Grant{TTL: time.Minute})
	f.clock.add(time.Minute)
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
	wantIs(t, "Authenticate", err, lapse.ErrExpired)
}

// TestSweptParent: a delegate without its parent is dead, and keeps nobody out.
func TestSweptParent(t *testing.T) {
	f := newFixture(t, lapse.Config{Policy: lapse.Policy{MaxTokens: 3}})
	all := f.chain(1)
	all = append(all, f.delegate(all[0], lapse.Grant{TTL: 100 * time.Hour}))
	all = append(all, f.delegate(all[1], lapse.Grant{TTL: 100 * time.Hour}))
	f.clock.add(25 * time.Hour)
	if n, err := f.Sweep(f.ctx); n != 1 || err != nil {
		t.Fatalf("Sweep: %d, %v; want the parent", n, err)
	}
	for _, i := range all[1:] {
		for name, verb := range bearerVerbs(f.Manager) {
			if name != "ExpireBearer" {
				wantIs(t, name, verb(f.ctx, i.Bearer), lapse.ErrExpired)
			}
		}
		_, err := f.Delegate(f.ctx, i.Bearer, lapse.Grant{})
		wantIs(t, "Delegate", err, lapse.ErrExpired)
		if tok := f.seen(i); tok.Live(start) || !tok.ExpiresAt.IsZero() {
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
						wantIs(t, name, verb(f.ctx, i.Bearer), row.want)
					}
				}
				_, err := m.Delegate(f.ctx, i.Bearer, lapse.Grant{})
				wantIs(t, "Delegate", err, row.want)
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
	ctx, clock, store := context.Background(), newClock(), memory.New()
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
	wantIs(t, "under another prefix", err, lapse.ErrUnknown)
	if ended, err := admin.Expire(ctx, parent.ID); !ended || err != nil {
		t.Errorf("Expire: %v, %v", ended, err)
	}
	if tok, err := admin.Token(ctx, d.ID); err != nil || tok.EndReason != lapse.EndParent {
		t.Errorf("after the end of its parent: %+v, %v", tok, err)
	}
}
