package lapse_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/memory"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// onStores runs a test on a store in memory and on one in a file.
func onStores(t *testing.T, test func(t *testing.T, store *storagetest.Faulty)) {
	t.Run("memory", func(t *testing.T) { test(t, storagetest.NewFaulty(memory.New())) })
	t.Run("bolt", func(t *testing.T) {
		s, err := bolt.Open(filepath.Join(t.TempDir(), "tokens.db"), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer s.Close()
		test(t, storagetest.NewFaulty(s))
	})
}

// arrivals holds every call of ops until n of them have arrived, and then lets all
// go at once.
func arrivals(store *storagetest.Faulty, n int, ops ...storagetest.Op) {
	var mu sync.Mutex
	left, open := n, make(chan struct{})
	store.Before(func(got storagetest.Op) {
		if !slices.Contains(ops, got) {
			return
		}
		mu.Lock()
		if left--; left == 0 {
			close(open)
		}
		mu.Unlock()
		<-open
	})
}

// together runs n calls at once and returns their errors.
func together(n int, call func(i int) error) []error {
	errs := make([]error, n)
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() { errs[i] = call(i) })
	}
	wg.Wait()
	return errs
}

func gateManager(t *testing.T, store storage.Store, p lapse.Policy) (*lapse.Manager, *stepClock) {
	t.Helper()
	clock := newClock()
	m, err := lapse.New(store, lapse.Config{Policy: p, Clock: clock})
	if err != nil {
		t.Fatal(err)
	}
	return m, clock
}

// TestLimitUnder32Callers: a limit of five issues exactly five, or leaves exactly
// five alive.
func TestLimitUnder32Callers(t *testing.T) {
	const limit, callers = 5, 32
	for _, atLimit := range []lapse.AtLimit{lapse.LimitRefuse, lapse.LimitEndOldest, lapse.LimitEndIdlest} {
		onStores(t, func(t *testing.T, store *storagetest.Faulty) {
			ctx := context.Background()
			m, clock := gateManager(t, store, lapse.Policy{MaxTokens: limit, AtLimit: atLimit})
			arrivals(store, callers, storagetest.OpUpdate)
			errs := together(callers, func(int) error {
				_, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
				return err
			})
			store.Before(nil)
			issued := 0
			for _, err := range errs {
				if err == nil {
					issued++
				} else if !errors.Is(err, lapse.ErrLimit) {
					t.Errorf("Issue: %v", err)
				}
			}
			live := 0
			for tok, err := range m.Tokens(ctx, "ana") {
				if err != nil {
					t.Fatal(err)
				}
				if tok.Live(clock.Now()) {
					live++
				}
			}
			want := callers
			if atLimit == lapse.LimitRefuse {
				want = limit
			}
			if issued != want || live != limit {
				t.Errorf("AtLimit %d: %d issued, %d alive; want %d and %d", atLimit, issued, live, want, limit)
			}
		})
	}
}

// TestRenewAgainstExpire lets renewals of both kinds and an end loose on one
// token at once: the end holds.
func TestRenewAgainstExpire(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := gateManager(t, store, lapse.Policy{})
		for range 20 {
			i, err := m.Issue(ctx, lapse.Grant{Subject: "ana", TTL: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			clock.add(time.Second)
			arrivals(store, 9, storagetest.OpGet)
			errs := together(9, func(n int) error {
				switch n % 3 {
				case 0:
					_, err := m.Authenticate(ctx, i.Bearer)
					return ignore(err, lapse.ErrRevoked)
				case 1:
					_, err := m.Renew(ctx, i.Bearer)
					return ignore(err, lapse.ErrRevoked)
				default:
					_, err := m.Expire(ctx, i.ID)
					return err
				}
			})
			store.Before(nil)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			tok, err := m.Token(ctx, i.ID)
			if err != nil || tok.EndedAt.IsZero() {
				t.Fatalf("after the race: %+v, %v; want it ended", tok, err)
			}
			_, err = m.Authenticate(ctx, i.Bearer)
			wantIs(t, "Authenticate after the race", err, lapse.ErrRevoked)
		}
	})
}

func ignore(err, expected error) error {
	if errors.Is(err, expected) {
		return nil
	}
	return err
}

// TestOneRenewalAtOneInstant: callers of the same token at the same instant all
// get in, and nobody shortens anything.
func TestOneRenewalAtOneInstant(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := gateManager(t, store, lapse.Policy{})
		i, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		clock.add(time.Minute)
		arrivals(store, 64, storagetest.OpGet)
		errs := together(64, func(int) error {
			tok, err := m.Authenticate(ctx, i.Bearer)
			if err == nil && !tok.ExpiresAt.Equal(startMilli.Add(31*time.Minute)) {
				t.Errorf("lives until %v", tok.ExpiresAt)
			}
			return err
		})
		store.Before(nil)
		if err := errors.Join(errs...); err != nil {
			t.Error(err)
		}
	})
}

// TestIssueAgainstExpireSubject: what was issued before the log-out everywhere is
// dead, what came later lives, and the order of the store decides which is which.
func TestIssueAgainstExpireSubject(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, _ := gateManager(t, store, lapse.Policy{})
		const issuers = 31
		before := make([]lapse.Issued, 5)
		for n := range before {
			var err error
			if before[n], err = m.Issue(ctx, lapse.Grant{Subject: "ana"}); err != nil {
				t.Fatal(err)
			}
		}
		bearers := make([]string, issuers)
		ended := 0
		arrivals(store, issuers+1, storagetest.OpUpdate)
		errs := together(issuers+1, func(n int) (err error) {
			if n == issuers {
				ended, err = m.ExpireSubject(ctx, "ana")
				return err
			}
			i, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
			bearers[n] = i.Bearer
			return err
		})
		store.Before(nil)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		live := 0
		for _, b := range bearers {
			if _, err := m.Peek(ctx, b); err == nil {
				live++
			}
		}
		for _, i := range before {
			_, err := m.Peek(ctx, i.Bearer)
			wantIs(t, "one issued before", err, lapse.ErrRevoked)
		}
		if ended+live != issuers+len(before) {
			t.Errorf("%d ended, %d alive of %d", ended, live, issuers+len(before))
		}
	})
}

// sweeperAhead returns a Manager whose clock has passed the retention of what
// the others' clock is about to renew.
func sweeperAhead(t *testing.T, store storage.Store) *lapse.Manager {
	t.Helper()
	m, clock := gateManager(t, store, lapse.Policy{Retention: time.Millisecond})
	clock.add(30*time.Minute + 2*time.Millisecond)
	return m
}

// TestSweepAgainstRenew sweeps tokens while half of them are renewed: each one is
// either deleted and counted, or there with its new expiry.
func TestSweepAgainstRenew(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := gateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
		const tokens, renewing = 40, 20
		issued := make([]lapse.Issued, tokens)
		for n := range issued {
			var err error
			if issued[n], err = m.Issue(ctx, lapse.Grant{Subject: "ana"}); err != nil {
				t.Fatal(err)
			}
		}
		clock.add(30*time.Minute - time.Millisecond)
		sweeper := sweeperAhead(t, store)
		deleted := 0
		arrivals(store, renewing+1, storagetest.OpTouch, storagetest.OpSweep)
		errs := together(renewing+1, func(n int) (err error) {
			if n == renewing {
				deleted, err = sweeper.Sweep(ctx)
				return err
			}
			_, err = m.Authenticate(ctx, issued[n].Bearer)
			return ignore(err, lapse.ErrUnknown)
		})
		store.Before(nil)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		left := 0
		for tok, err := range m.Tokens(ctx, "ana") {
			if err != nil || !tok.ExpiresAt.After(issued[0].ExpiresAt) {
				t.Errorf("%+v, %v survived without being renewed", tok, err)
			}
			left++
		}
		if deleted+left != tokens {
			t.Errorf("%d deleted, %d left of %d", deleted, left, tokens)
		}
	})
}

// TestSweepSparesTheRenewed is the race of above with its order fixed: the sweep
// has begun, the renewal comes, the sweep goes on.
func TestSweepSparesTheRenewed(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := gateManager(t, store, lapse.Policy{Retention: time.Millisecond})
		renewed, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := m.Issue(ctx, lapse.Grant{Subject: "ana"}); err != nil {
			t.Fatal(err)
		}
		clock.add(30*time.Minute - time.Millisecond)
		sweeper := sweeperAhead(t, store)
		store.Before(func(op storagetest.Op) {
			if op != storagetest.OpSweep {
				return
			}
			store.Before(nil)
			if _, err := m.Authenticate(ctx, renewed.Bearer); err != nil {
				t.Errorf("Authenticate: %v", err)
			}
		})
		if n, err := sweeper.Sweep(ctx); n != 1 || err != nil {
			t.Errorf("Sweep: %d, %v; want the other one alone", n, err)
		}
		var left []lapse.ID
		for tok := range m.Tokens(ctx, "ana") {
			left = append(left, tok.ID)
		}
		if !slices.Equal(left, []lapse.ID{renewed.ID}) {
			t.Errorf("left: %v; want the renewed one", left)
		}
	})
}
