package lapse_test

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// TestRotateUnder64Callers who have all found the token without a successor: one gets
// it, and the others are told.
func TestRotateUnder64Callers(t *testing.T) {
	const callers = 64
	for _, row := range []struct {
		overlap time.Duration
		want    error
	}{{0, lapse.ErrExpired}, {time.Minute, lapse.ErrRotated}} {
		onStores(t, func(t *testing.T, store *storagetest.Faulty) {
			ctx := context.Background()
			m, clock := gateManager(t, store, lapse.Policy{MaxTokens: 1})
			old, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
			if err != nil {
				t.Fatal(err)
			}
			got := make([]lapse.Issued, callers)
			arrivals(store, callers, storagetest.OpUpdate)
			errs := together(callers, func(i int) (err error) {
				got[i], err = m.Rotate(ctx, old.Bearer, row.overlap)
				return err
			})
			store.Before(nil)
			succeeded := 0
			for i, err := range errs {
				if err == nil {
					succeeded++
					_, err := m.Authenticate(ctx, got[i].Bearer)
					wantIs(t, "what was given", err, nil)
				} else {
					wantIs(t, "one of the others", err, row.want)
				}
			}
			if n := successors(t, m, old.ID, clock.Now()); succeeded != 1 || n != 1 {
				t.Errorf("overlap %v: %d succeeded, %d live successors; want one each", row.overlap, succeeded, n)
			}
		})
	}
}

// TestRotateOneAfterTheOther: callers that come as they like, some of whom see the
// successor of another, leave one alive, and its holder was told so.
func TestRotateOneAfterTheOther(t *testing.T) {
	const callers = 64
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := gateManager(t, store, lapse.Policy{})
		old, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
		if err != nil {
			t.Fatal(err)
		}
		got := make([]lapse.Issued, callers)
		arrivals(store, callers, storagetest.OpGet)
		errs := together(callers, func(i int) (err error) {
			got[i], err = m.Rotate(ctx, old.Bearer, time.Minute)
			return ignore(err, lapse.ErrRotated)
		})
		store.Before(nil)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		held := 0
		for _, i := range got {
			if _, err := m.Peek(ctx, i.Bearer); err == nil {
				held++
			}
		}
		if n := successors(t, m, old.ID, clock.Now()); n != 1 || held != 1 {
			t.Errorf("%d live successors, %d callers hold one; want one each", n, held)
		}
	})
}

// successors counts the live ones that say that they replace the token of id.
func successors(t *testing.T, m *lapse.Manager, id lapse.ID, now time.Time) (n int) {
	t.Helper()
	all, err := collect(m.Tokens(context.Background(), "ana"))
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range all {
		if tok.Predecessor == id && tok.Live(now) {
			n++
		}
	}
	return n
}

// TestRotateAgainstItsEnd: a rotation and an end meet. Whichever came first, the token
// is ended, and there is a successor only if the rotation did.
func TestRotateAgainstItsEnd(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, clock := gateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
		for range 20 {
			old, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
			if err != nil {
				t.Fatal(err)
			}
			rotated := false
			arrivals(store, 2, storagetest.OpUpdate)
			errs := together(2, func(i int) error {
				if i == 0 {
					_, err := m.Expire(ctx, old.ID)
					return err
				}
				_, err := m.Rotate(ctx, old.Bearer, time.Minute)
				rotated = err == nil
				return ignore(err, lapse.ErrExpired)
			})
			store.Before(nil)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			tok, err := m.Token(ctx, old.ID)
			if err != nil || tok.EndReason != lapse.EndExpired {
				t.Fatalf("%+v, %v; want it ended", tok, err)
			}
			if n := successors(t, m, old.ID, clock.Now()); (n == 1) != rotated {
				t.Fatalf("rotated: %v, %d successors", rotated, n)
			}
		}
	})
}

// TestRotateSurvivesReopening, with a renewal of the old token that was deferred when it
// was rotated, and one of the new.
func TestRotateSurvivesReopening(t *testing.T) {
	ctx, path := context.Background(), filepath.Join(t.TempDir(), "tokens.db")
	open := func() (*bolt.Store, *lapse.Manager, *stepClock) {
		store, err := bolt.Open(path, nil)
		if err != nil {
			t.Fatal(err)
		}
		m, clock := gateManager(t, store, lapse.Policy{})
		return store, m, clock
	}
	store, m, clock := open()
	old, err := m.Issue(ctx, lapse.Grant{Subject: "ana"})
	if err != nil {
		t.Fatal(err)
	}
	clock.add(time.Minute)
	_, used := m.Authenticate(ctx, old.Bearer)
	next, rotated := m.Rotate(ctx, old.Bearer, time.Minute)
	_, usedNext := m.Authenticate(ctx, next.Bearer)
	if err := errors.Join(used, rotated, usedNext, store.Close()); err != nil {
		t.Fatal(err)
	}

	store, m, clock = open()
	defer store.Close()
	clock.add(2*time.Minute - time.Millisecond)
	tok, err := m.Peek(ctx, old.Bearer)
	if err != nil || tok.Successor != next.ID {
		t.Errorf("in its overlap: %+v, %v", tok, err)
	}
	_, err = m.Rotate(ctx, old.Bearer, time.Minute)
	wantIs(t, "once more, after a use of the successor", err, lapse.ErrRotated)
	clock.add(time.Millisecond)
	_, err = m.Peek(ctx, old.Bearer)
	wantIs(t, "at the end of the overlap", err, lapse.ErrExpired)
	if tok, err := m.Peek(ctx, next.Bearer); err != nil || tok.Predecessor != old.ID || tok.Family != old.ID {
		t.Errorf("the successor: %+v, %v", tok, err)
	}
}
