package lapse_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

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
			onStores(t, func(t *testing.T, store *storagetest.Faulty) {
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
	m, clock := gateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
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
	arrivals(store, callers, storagetest.OpUpdate)
	errs := together(callers, func(n int) error {
		if n == callers/2 {
			return end(ctx, m, parent)
		}
		d, err := m.Delegate(ctx, []string{parent.Bearer, near.Bearer}[n%2], lapse.Grant{})
		if err == nil {
			mu.Lock()
			made = append(made, d)
			mu.Unlock()
		}
		return ignore(err, lapse.ErrRevoked)
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
		wantIs(t, "Authenticate", err, lapse.ErrRevoked)
	}
	clock.add(time.Millisecond)
}

// TestUseAgainstEndOfParent: a delegate that is used while its parent ends is good
// before and dead after, and comes to no other end.
func TestUseAgainstEndOfParent(t *testing.T) {
	const callers = 64
	for _, uses := range []int{0, 1000} {
		onStores(t, func(t *testing.T, store *storagetest.Faulty) {
			ctx := context.Background()
			m, clock := gateManager(t, store, lapse.Policy{})
			parent, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
			if err != nil {
				t.Fatal(err)
			}
			d, err := m.Delegate(ctx, parent.Bearer, lapse.Grant{MaxUses: uses})
			if err != nil {
				t.Fatal(err)
			}
			clock.add(time.Second)
			arrivals(store, callers, storagetest.OpGet)
			errs := together(callers, func(n int) error {
				switch n % 8 {
				case 0:
					_, err := m.ExpireBearer(ctx, parent.Bearer)
					return err
				case 1:
					_, err := m.Renew(ctx, d.Bearer)
					return ignore(err, lapse.ErrRevoked)
				default:
					_, err := m.Authenticate(ctx, d.Bearer)
					return ignore(err, lapse.ErrRevoked)
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
			wantIs(t, "Authenticate after the race", err, lapse.ErrRevoked)
		})
	}
}

// TestEndAgainstRoomForOneMore lets delegations loose on issues that evict, the parent
// among others: the limit holds, and no delegate outlives its parent.
func TestEndAgainstRoomForOneMore(t *testing.T) {
	const callers = 64
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := gateManager(t, store, lapse.Policy{MaxTokens: 5, AtLimit: lapse.LimitEndOldest})
		parent, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		clock.add(time.Second)
		arrivals(store, callers, storagetest.OpUpdate)
		errs := together(callers, func(n int) error {
			if n%2 == 0 {
				_, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
				return err
			}
			_, err := m.Delegate(ctx, parent.Bearer, lapse.Grant{})
			return ignore(err, lapse.ErrRevoked)
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
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, _ := gateManager(t, store, lapse.Policy{MaxTokens: 1, MaxDelegates: limit})
		parent, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		arrivals(store, callers, storagetest.OpUpdate)
		errs := together(callers, func(int) error {
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
