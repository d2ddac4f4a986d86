package lapse_test

import (
	"context"
	"errors"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/seed-55daa01a/lapse"
	"github.com/seed-55daa01a/lapse/storage/bolt"
	"github.com/seed-55daa01a/lapse/storage/storagetest"
)

// rotationsTold returns a Manager, and a count of the rotations that it tells of.
func rotationsTold(t *testing.T, store *storagetest.Faulty) (*lapse.Manager, *atomic.Int64) {
	t.Helper()
	var told atomic.Int64
	m, err := lapse.New(store, lapse.Config{Clock: newClock(), Observe: func(_ context.Context, e lapse.Event) {
		if e.Kind == lapse.EventRotated {
			told.Add(1)
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	return m, &told
}

// TestRotateUnder64Callers who have all found the token not rotated: one of them replaces
// its secret. With an overlap all are given the same text; without one the others are
// told that theirs was replaced.
func TestRotateUnder64Callers(t *testing.T) {
	const callers = 64
	for _, overlap := range []time.Duration{0, time.Minute} {
		onStores(t, func(t *testing.T, store *storagetest.Faulty) {
			ctx := context.Background()
			m, told := rotationsTold(t, store)
			old, err := m.Issue(ctx, forAna)
			if err != nil {
				t.Fatal(err)
			}
			got := make([]lapse.Issued, callers)
			arrivals(store, callers, storagetest.OpUpdate)
			errs := together(callers, func(i int) (err error) {
				got[i], err = m.Rotate(ctx, old.Bearer, overlap)
				return err
			})
			store.Before(nil)
			given, texts := 0, map[string]bool{}
			for i, err := range errs {
				if err == nil {
					given++
					texts[got[i].Bearer] = true
				} else {
					wantIs(t, "one of the others", err, lapse.ErrReplaced)
				}
			}
			want := callers
			if overlap == 0 {
				want = 1
			}
			if given != want || len(texts) != 1 || told.Load() != 1 {
				t.Errorf("overlap %v: %d were given %d texts, %d rotations; want %d, one and one", overlap, given, len(texts), told.Load(), want)
			}
			for text := range texts {
				if tok, err := m.Authenticate(ctx, text); err != nil || tok.Generation != 1 {
					t.Errorf("overlap %v: what was given: %+v, %v", overlap, tok, err)
				}
			}
		})
	}
}

// TestRotateOneAfterTheOther: callers that come as they like, of whom each uses what it is
// given at once, replace the secret once; each has the same text, or is told that it is in
// use.
func TestRotateOneAfterTheOther(t *testing.T) {
	const callers = 64
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, told := rotationsTold(t, store)
		old, err := m.Issue(ctx, forAna)
		if err != nil {
			t.Fatal(err)
		}
		got := make([]lapse.Issued, callers)
		arrivals(store, callers, storagetest.OpGet)
		errs := together(callers, func(i int) (err error) {
			if got[i], err = m.Rotate(ctx, old.Bearer, time.Minute); err == nil {
				_, err = m.Authenticate(ctx, got[i].Bearer)
			}
			return ignore(err, lapse.ErrRotated)
		})
		store.Before(nil)
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		texts := map[string]bool{}
		for _, i := range got {
			if i.Bearer != "" {
				texts[i.Bearer] = true
			}
		}
		if told.Load() != 1 || len(texts) != 1 {
			t.Errorf("%d rotations gave %d texts; want one of each", told.Load(), len(texts))
		}
		_, err = m.Rotate(ctx, old.Bearer, time.Minute)
		wantIs(t, "after all that", err, lapse.ErrRotated)
	})
}

// TestRotateAgainstItsEnd: a rotation and an end meet. Whichever came first, the token is
// ended, under both of its secrets.
func TestRotateAgainstItsEnd(t *testing.T) {
	onStores(t, func(t *testing.T, store *storagetest.Faulty) {
		ctx := context.Background()
		m, _ := gateManager(t, store, lapse.Policy{MaxTokens: lapse.NoTokenLimit})
		for range 20 {
			old, err := m.Issue(ctx, forAna)
			if err != nil {
				t.Fatal(err)
			}
			var next lapse.Issued
			arrivals(store, 2, storagetest.OpUpdate)
			errs := together(2, func(i int) (err error) {
				if i == 0 {
					_, err := m.Expire(ctx, old.ID)
					return err
				}
				next, err = m.Rotate(ctx, old.Bearer, time.Minute)
				return ignore(err, lapse.ErrRevoked)
			})
			store.Before(nil)
			if err := errors.Join(errs...); err != nil {
				t.Fatal(err)
			}
			tok, err := m.Token(ctx, old.ID)
			if err != nil || tok.EndReason != lapse.EndRevoked || (tok.Generation == 1) != (next.Bearer != "") {
				t.Fatalf("%+v, %v; want it ended", tok, err)
			}
			for _, text := range []string{old.Bearer, next.Bearer} {
				if _, err := m.Peek(ctx, text); text != "" && !errors.Is(err, lapse.ErrRevoked) {
					t.Fatalf("after the end: %v", err)
				}
			}
		}
	})
}

// TestRotateSurvivesReopening: between the rotation and its repeat the store is closed
// and opened again, with a renewal of the old text that was deferred when the token was
// rotated.
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
	old, err := m.Issue(ctx, forAna)
	if err != nil {
		t.Fatal(err)
	}
	clock.add(time.Minute)
	_, used := m.Authenticate(ctx, old.Bearer)
	next, rotated := m.Rotate(ctx, old.Bearer, time.Minute)
	if err := errors.Join(used, rotated, store.Close()); err != nil {
		t.Fatal(err)
	}

	store, m, clock = open()
	clock.add(2*time.Minute - time.Millisecond)
	again, err := m.Rotate(ctx, old.Bearer, time.Hour)
	if err != nil || again.Bearer != next.Bearer || again.Token != next.Token {
		t.Errorf("the same again: %v, %+v; want %+v", err, again.Token, next.Token)
	}
	_, firstUse := m.Authenticate(ctx, next.Bearer)
	if err := errors.Join(firstUse, store.Close()); err != nil {
		t.Fatal(err)
	}

	store, m, clock = open()
	defer store.Close()
	clock.add(2*time.Minute - time.Millisecond)
	_, err = m.Rotate(ctx, old.Bearer, time.Minute)
	wantIs(t, "after a use of the new text", err, lapse.ErrRotated)
	_, err = m.Peek(ctx, old.Bearer)
	wantIs(t, "the previous text, before its instant", err, nil)
	clock.add(time.Millisecond)
	_, err = m.Peek(ctx, old.Bearer)
	wantIs(t, "the previous text, at its instant", err, lapse.ErrReplaced)
	if tok, err := m.Peek(ctx, next.Bearer); err != nil || tok.ID != old.ID || tok.Generation != 1 {
		t.Errorf("the new text: %+v, %v", tok, err)
	}
}
