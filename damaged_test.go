package lapse_test

import (
	"context"
	"errors"
	"iter"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/memory"
)

// damaged is a store in which one record cannot be read.
type damaged struct {
	storage.Store
	id storage.ID
}

func (d *damaged) Get(ctx context.Context, id storage.ID) (storage.Record, error) {
	if id == d.id {
		return storage.Record{}, storage.ErrCorrupt
	}
	return d.Store.Get(ctx, id)
}

func (d *damaged) List(ctx context.Context, f storage.Filter) iter.Seq2[storage.Record, error] {
	return d.without(d.Store.List(ctx, f))
}

func (d *damaged) Update(ctx context.Context, subject string, fn func(storage.Tx) error) error {
	return d.Store.Update(ctx, subject, func(tx storage.Tx) error { return fn(damagedTx{tx, d}) })
}

func (d *damaged) without(records iter.Seq2[storage.Record, error]) iter.Seq2[storage.Record, error] {
	return func(yield func(storage.Record, error) bool) {
		for r, err := range records {
			if r.ID == d.id {
				r, err = storage.Record{Token: storage.Token{ID: d.id}}, storage.ErrCorrupt
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

type damagedTx struct {
	storage.Tx
	d *damaged
}

func (tx damagedTx) Get(id storage.ID) (storage.Record, error) {
	if id == tx.d.id {
		return storage.Record{}, storage.ErrCorrupt
	}
	return tx.Tx.Get(id)
}

func (tx damagedTx) Records() iter.Seq2[storage.Record, error] { return tx.d.without(tx.Tx.Records()) }

func (tx damagedTx) Living(now time.Time) iter.Seq2[storage.Record, error] {
	return tx.d.without(tx.Tx.Living(now))
}

// TestDamagedRecord: a record that cannot be read is denied, hides nothing of its
// subject's others, and takes no room from them.
func TestDamagedRecord(t *testing.T) {
	ctx := context.Background()
	store := &damaged{Store: memory.New()}
	m, err := lapse.New(store, lapse.Config{Policy: lapse.Policy{MaxTokens: 3, AtLimit: lapse.LimitEndOldest}, Clock: newClock()})
	if err != nil {
		t.Fatal(err)
	}
	var issued []lapse.Issued
	issue := func(evicted int) {
		t.Helper()
		i, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil || len(i.Evicted) != evicted {
			t.Fatalf("Issue: %v, evicted %v; want %d", err, i.Evicted, evicted)
		}
		issued = append(issued, i)
	}
	issue(0)
	issue(0)
	issue(0)
	store.id = issued[1].ID

	for name, verb := range bearerVerbs(m) {
		err := verb(ctx, issued[1].Bearer)
		wantIs(t, name, err, lapse.ErrCorrupt)
		if errors.Is(err, lapse.ErrUnauthenticated) {
			t.Errorf("%s: %v reads as a bad token", name, err)
		}
	}
	_, err = m.Expire(ctx, store.id)
	wantIs(t, "Expire", err, lapse.ErrCorrupt)
	_, err = m.Token(ctx, store.id)
	wantIs(t, "Token", err, lapse.ErrCorrupt)

	sound := 0
	for tok, err := range m.Tokens(ctx, "ana") {
		if (tok.ID == store.id) != errors.Is(err, lapse.ErrCorrupt) {
			t.Errorf("Tokens: %v, %v", tok.ID, err)
		}
		if err == nil {
			sound++
		}
	}
	if sound != 2 {
		t.Errorf("%d sound tokens listed; want 2, before and behind the damaged one", sound)
	}
	issue(0) // two are alive
	issue(1)
	if n, err := m.ExpireSubject(ctx, "ana"); n != 3 || err != nil {
		t.Errorf("ExpireSubject: %d, %v; want the 3 that can be read", n, err)
	}
}
