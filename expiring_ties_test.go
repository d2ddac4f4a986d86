package lapse_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// change rewrites the record of a token.
func (f *fixture) change(id lapse.ID, change func(r *storage.Record)) {
	f.t.Helper()
	err := f.store.Update(f.ctx, f.token(id).Subject, func(tx storage.Tx) error {
		r, err := tx.Get(id)
		if err != nil {
			return err
		}
		change(&r)
		return tx.Put(r)
	})
	if err != nil {
		f.t.Fatal(err)
	}
}

// TestExpiringLeavesTheRotatedOut for as long as their successors live.
func TestExpiringLeavesTheRotatedOut(t *testing.T) {
	for _, tt := range []struct {
		name string
		life time.Duration // of the successor
		do   func(f *fixture, store *damaged, old, next lapse.Issued)
		want []string
	}{
		{"a successor that lives", time.Hour, nil, nil},
		{"a successor that expires soon too", 15 * time.Minute, nil, []string{"next"}},
		{"1 ms before the successor runs out", 10*time.Minute + time.Millisecond, nil, []string{"next"}},
		{"as the successor runs out", 10 * time.Minute, nil, []string{"old"}},
		{"a successor that was ended", time.Hour, func(f *fixture, _ *damaged, _, next lapse.Issued) { f.Expire(f.ctx, next.ID) }, []string{"old"}},
		{"a successor that is gone", time.Hour, func(f *fixture, _ *damaged, old, _ lapse.Issued) {
			f.change(old.ID, func(r *storage.Record) { r.Successor = lapse.ID{1} })
		}, []string{"old"}},
		{"a successor whose record is damaged", time.Hour, func(_ *fixture, store *damaged, _, next lapse.Issued) { store.id = next.ID }, []string{"old"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f := newFixture(t, lapse.Config{})
			store := &damaged{Store: f.store}
			old := f.issue(lapse.Grant{Subject: "ana", Name: "old"})
			next := f.issue(lapse.Grant{Subject: "ana", Name: "next", TTL: tt.life})
			f.change(old.ID, func(r *storage.Record) { r.Successor = next.ID })
			f.clock.add(10 * time.Minute)
			if tt.do != nil {
				tt.do(f, store, old, next)
			}
			m, err := lapse.New(store, lapse.Config{Clock: f.clock})
			if err != nil {
				t.Fatal(err)
			}
			wantDiff(t, "tokens", tt.want, names(m.Expiring(f.ctx, 20*time.Minute)))
		})
	}
}

// TestExpiringDelegates expire with those that they were delegated from.
func TestExpiringDelegates(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana", Name: "parent", TTL: 10 * time.Minute})
	f.clock.add(time.Millisecond) // so that its ID comes first
	child, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{Name: "child", TTL: 20 * time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	f.issue(lapse.Grant{Subject: "bob", Name: "bob's", TTL: 15 * time.Minute})
	wantDiff(t, "both", []string{"parent", "child", "bob's"}, names(f.Expiring(f.ctx, 20*time.Minute)))
	for tok, err := range f.Expiring(f.ctx, 20*time.Minute) {
		if err != nil || tok.ID == child.ID && !tok.ExpiresAt.Equal(parent.ExpiresAt) {
			t.Errorf("%s until %v, %v; want %v", tok.Name, tok.ExpiresAt, err, parent.ExpiresAt)
		}
	}
	wantDiff(t, "the child's record promises more", []string{"parent", "bob's"}, names(f.Expiring(f.ctx, 15*time.Minute)))
	f.clock.set(parent.ExpiresAt)
	wantDiff(t, "the parent ran out", []string{"bob's"}, names(f.Expiring(f.ctx, 20*time.Minute)))

	store := &damaged{Store: f.store, id: parent.ID}
	m, err := lapse.New(store, lapse.Config{Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "the parent's record is damaged", []string{"corrupt", "corrupt", "bob's"}, names(m.Expiring(f.ctx, 20*time.Minute)))
}

// mixedUp is a store that answers with another token's record.
type mixedUp struct {
	storage.Store
	asked, answered lapse.ID
}

func (s mixedUp) Get(ctx context.Context, id lapse.ID) (storage.Record, error) {
	if id == s.asked {
		id = s.answered
	}
	return s.Store.Get(ctx, id)
}

// TestExpiringTrustsNoOtherRecord: that some other token lives says nothing of the
// successor.
func TestExpiringTrustsNoOtherRecord(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	old, next := f.issue(lapse.Grant{Subject: "ana", Name: "old"}), f.issue(lapse.Grant{Subject: "ana", TTL: time.Millisecond})
	f.change(old.ID, func(r *storage.Record) { r.Successor = next.ID })
	f.clock.add(time.Millisecond)
	m, err := lapse.New(mixedUp{f.store, next.ID, old.ID}, lapse.Config{Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "tokens", []string{"old"}, names(m.Expiring(f.ctx, time.Hour)))
}

// TestExpiringFailsWhole: the order of half a list would be a lie.
func TestExpiringFailsWhole(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana", Name: "parent"})
	child, err := f.Delegate(f.ctx, parent.Bearer, lapse.Grant{Name: "child"})
	if err != nil {
		t.Fatal(err)
	}
	f.change(child.ID, func(r *storage.Record) { r.Successor = parent.ID })
	calls := f.calls(func() {
		wantDiff(t, "without a fault", []string{"parent"}, names(f.Expiring(f.ctx, time.Hour)))
	})
	wantDiff(t, "calls", []storagetest.Op{storagetest.OpList, opGet, opGet}, calls)
	for n := range calls {
		f.store.Reset()
		f.store.Inject(n+1, storagetest.FailBefore, errDisk)
		wantDiff(t, fmt.Sprint("call ", n+1), []string{"failed"}, names(f.Expiring(f.ctx, time.Hour)))
		f.store.Reset()
		f.store.Inject(n+1, storagetest.FailBefore, errDisk)
		for _, err := range f.Expiring(f.ctx, time.Hour) {
			wantIs(t, "the only pair", err, errDisk)
			wantIs(t, "the only pair", err, lapse.ErrUnavailable)
		}
	}
	f.store.Reset()
	ctx, cancel := context.WithCancel(f.ctx)
	cancel()
	for _, err := range f.Expiring(ctx, time.Hour) {
		wantIs(t, "after the context", err, context.Canceled)
	}
}
