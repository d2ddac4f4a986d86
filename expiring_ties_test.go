package lapse_test

import (
	"context"
	"fmt"
	"slices"
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

// TestExpiringOfTheRotated: a rotated token expires once, when its new life ends,
// whatever its previous text has left; a session when it ends, not its access text.
func TestExpiringOfTheRotated(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	old := f.issue(lapse.Grant{Subject: "ana", Name: "rotated", TTL: time.Hour})
	f.issue(lapse.Grant{Subject: "ana", Name: "other", TTL: 70 * time.Minute})
	f.clock.add(50 * time.Minute)
	wantDiff(t, "before the rotation", []string{"rotated", "other"}, names(f.Expiring(f.ctx, 20*time.Minute)))
	rotate(t, f, old.Bearer, 5*time.Minute)
	wantDiff(t, "after it", []string{"other"}, names(f.Expiring(f.ctx, 20*time.Minute)))
	f.clock.add(40 * time.Minute)
	wantDiff(t, "as the new life ends", []string{"rotated"}, names(f.Expiring(f.ctx, 20*time.Minute)))

	p := memoryPairs(t, lapse.PairConfig{})
	p.first(lapse.Grant{Name: "session", SessionTTL: time.Hour})
	wantDiff(t, "as the access text ends", []string(nil), names(p.Expiring(p.ctx, 20*time.Minute)))
	p.clock.add(40 * time.Minute)
	wantDiff(t, "as the session ends", []string{"session"}, names(p.Expiring(p.ctx, 20*time.Minute)))
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

// TestExpiringTrustsNoOtherRecord: that some other token lives says nothing of the one
// above a delegate.
func TestExpiringTrustsNoOtherRecord(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent, other := f.issue(lapse.Grant{Subject: "ana", Name: "parent"}), f.issue(lapse.Grant{Subject: "ana", Name: "other", TTL: 2 * time.Hour})
	f.delegate(parent, lapse.Grant{Name: "child"})
	m, err := lapse.New(mixedUp{f.store, parent.ID, other.ID}, lapse.Config{Clock: f.clock})
	if err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "tokens", []string{"corrupt", "parent"}, names(m.Expiring(f.ctx, time.Hour)))
}

// TestExpiringFailsWhole: the order of half a list would be a lie.
func TestExpiringFailsWhole(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent := f.issue(lapse.Grant{Subject: "ana", Name: "parent"})
	child := f.delegate(parent, lapse.Grant{Name: "child"})
	f.delegate(child, lapse.Grant{Name: "grandchild"})
	calls := f.calls(func() {
		got := names(f.Expiring(f.ctx, time.Hour))
		slices.Sort(got)
		wantDiff(t, "without a fault", []string{"child", "grandchild", "parent"}, got)
	})
	wantDiff(t, "calls", []storagetest.Op{storagetest.OpList, opGet, opGet, opGet}, calls)
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
