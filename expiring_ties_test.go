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

// TestExpiringOfTheRotated: a token that was rotated is yielded once, and expires when its
// new life does, whatever its previous text does.
func TestExpiringOfTheRotated(t *testing.T) {
	for _, overlap := range []time.Duration{0, time.Minute, 5 * time.Minute} {
		f := newFixture(t, lapse.Config{})
		i := f.issue(lapse.Grant{Subject: "ana", Name: "rotated"})
		f.clock.add(10 * time.Minute)
		next, err := f.Rotate(f.ctx, i.Bearer, overlap)
		if err != nil {
			t.Fatal(err)
		}
		wantDiff(t, "until 1 ms before its end", []string(nil), names(f.Expiring(f.ctx, 30*time.Minute-time.Millisecond)))
		for tok, err := range f.Expiring(f.ctx, 30*time.Minute) {
			if err != nil || tok != f.token(i.ID) || !tok.ExpiresAt.Equal(next.ExpiresAt) {
				t.Errorf("%+v, %v; want what Token says", tok, err)
			}
		}
		wantDiff(t, "until its end", []string{"rotated"}, names(f.Expiring(f.ctx, 30*time.Minute)))
	}
}

// TestExpiringOfSessions: a session expires when it would run out without another
// refresh; its access secret and a grace have no say.
func TestExpiringOfSessions(t *testing.T) {
	const day = 24 * time.Hour
	f := newFixture(t, lapse.Config{})
	p, err := lapse.NewPairs(f.store, lapse.PairConfig{
		Access:  lapse.Config{Clock: f.clock},
		Refresh: lapse.Config{Policy: lapse.Policy{TTL: 10 * day, MaxTTL: 15 * day}},
	})
	if err != nil {
		t.Fatal(err)
	}
	c, err := p.Issue(f.ctx, lapse.Grant{Subject: "ana", Name: "session"})
	if err != nil {
		t.Fatal(err)
	}
	for _, row := range []struct {
		after, left time.Duration // after how long it is refreshed, and what it has left then
	}{{0, 10 * day}, {time.Hour, 10 * day}, {9 * day, 15*day - time.Hour - 9*day}} {
		f.clock.add(row.after)
		if c, err = p.Refresh(f.ctx, c.Refresh.Bearer); err != nil {
			t.Fatal(err)
		}
		for _, m := range []*lapse.Manager{p.Access(), f.Manager} {
			wantDiff(t, "1 ms too near", []string(nil), names(m.Expiring(f.ctx, row.left-time.Millisecond)))
			wantDiff(t, "in time", []string{"session"}, names(m.Expiring(f.ctx, row.left)))
		}
	}
	if _, err := p.Access().ExpireBearer(f.ctx, c.Access.Bearer); err != nil {
		t.Fatal(err)
	}
	wantDiff(t, "once it is logged out", []string(nil), names(f.Expiring(f.ctx, lapse.NoLimit)))
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

// TestExpiringTrustsNoOtherRecord: that some other token lives says nothing of a parent.
func TestExpiringTrustsNoOtherRecord(t *testing.T) {
	f := newFixture(t, lapse.Config{})
	parent, other := f.issue(lapse.Grant{Subject: "ana", Name: "parent"}), f.issue(lapse.Grant{Subject: "ana", TTL: time.Millisecond})
	f.delegate(parent, lapse.Grant{Name: "child"})
	f.clock.add(time.Millisecond)
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
	f.clock.add(time.Millisecond) // so that its ID comes first
	f.delegate(parent, lapse.Grant{Name: "child"})
	calls := f.calls(func() {
		wantDiff(t, "without a fault", []string{"parent", "child"}, names(f.Expiring(f.ctx, time.Hour)))
	})
	wantDiff(t, "calls", []storagetest.Op{storagetest.OpList, opGet}, calls)
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
